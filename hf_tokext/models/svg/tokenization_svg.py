"""A tokenizer of drawings."""

from hf_tokext.models.blocks.domain_tokenizer import DomainTokenizer
from hf_tokext.models.svg.domain import SVGDomain


class SVGTokenizer(DomainTokenizer):
    """Reads SVG drawings, and writes well-formed ones whatever ids it is given; see `SVGDomain`."""

    domain_class = SVGDomain
