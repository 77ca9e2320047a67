"""Molecules as tokens, in one dimension and in three."""

from hf_tokext.registry import register_family

HERE = "hf_tokext.models.molecule"

register_family(
    f"{HERE}.configuration_molecule:MoleculeConfig",
    tokenizer=f"{HERE}.tokenization_molecule:MoleculeTokenizer",
    processor=f"{HERE}.processing_molecule:MoleculeProcessor",
    tokenizer_only=True,
)
