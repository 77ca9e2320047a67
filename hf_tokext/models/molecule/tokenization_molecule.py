"""A tokenizer of molecules."""

from hf_tokext.models.blocks.domain_tokenizer import DomainTokenizer
from hf_tokext.models.molecule.domain import MoleculeDomain


class MoleculeTokenizer(DomainTokenizer):
    """Reads molecules, and writes them whatever ids it is given; see `MoleculeDomain`."""

    domain_class = MoleculeDomain
