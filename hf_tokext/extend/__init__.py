"""Putting a domain or a modality on a language model, beside the vocabulary that it has."""

from hf_tokext.extend.domains import domain_names, domains_of, make_domain, register_domain
from hf_tokext.extend.generation import keep_to_grammar
from hf_tokext.extend.models import extend, extend_checkpoint
from hf_tokext.extend.rows import InitializedRow, InitializedRows, init_rows

__all__ = [
    "InitializedRow",
    "InitializedRows",
    "domain_names",
    "domains_of",
    "extend",
    "extend_checkpoint",
    "init_rows",
    "keep_to_grammar",
    "make_domain",
    "register_domain",
]
