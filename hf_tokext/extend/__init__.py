"""Putting a domain or a modality on a language model, beside the vocabulary that it has."""

from hf_tokext.extend.domains import domain_names, domains_of, make_domain, register_domain
from hf_tokext.extend.generation import keep_to_grammar
from hf_tokext.extend.modalities import extend_with_codecs
from hf_tokext.extend.models import extend_checkpoint, extend_model
from hf_tokext.extend.rows import InitializedRow, InitializedRows, init_rows, trainable_rows

__all__ = [
    "InitializedRow",
    "InitializedRows",
    "domain_names",
    "domains_of",
    "extend_checkpoint",
    "extend_model",
    "extend_with_codecs",
    "init_rows",
    "keep_to_grammar",
    "make_domain",
    "register_domain",
    "trainable_rows",
]
