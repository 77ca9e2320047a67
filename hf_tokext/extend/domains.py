"""Domains by their names, and those that a tokenizer has learnt."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import RegistrationError, VocabularyError
from hf_tokext.vocabulary.domain import Domain
from hf_tokext.vocabulary.spaces import Spaces

_DOMAINS: dict[str, str | type[Domain]] = {
    "box": "hf_tokext.models.box.domain:BoxDomain",
    "llvm_ir": "hf_tokext.models.llvm_ir.domain:LLVMIRDomain",
    "molecule": "hf_tokext.models.molecule.domain:MoleculeDomain",
    "svg": "hf_tokext.models.svg.domain:SVGDomain",
}


def register_domain(domain: type[Domain]) -> type[Domain]:
    """Let a domain be found by its name; used as a decorator.

    Args:
        domain: the class.

    Returns:
        The class.

    Raises:
        RegistrationError: another class has the name.
    """
    known = _DOMAINS.get(domain.name)
    if known not in (None, domain) and known != f"{domain.__module__}:{domain.__name__}":
        raise RegistrationError(f"domain {domain.name!r} is {known} already; choose another name")
    _DOMAINS[domain.name] = domain
    return domain


def domain_names() -> list[str]:
    """Names of all domains, sorted."""
    return sorted(_DOMAINS)


def make_domain(name: str, settings: Mapping[str, Any] | None = None) -> Domain:
    """Make a domain.

    Args:
        name: one of `domain_names()`.
        settings: arguments of its class; None for its defaults.

    Returns:
        The domain.

    Raises:
        VocabularyError: there is no such domain, or it has no such setting.
    """
    target = _DOMAINS.get(name)
    if target is None:
        raise VocabularyError(f"there is no domain {name!r}; the domains are {', '.join(domain_names())}")
    if isinstance(target, str):
        module, _, attribute = target.partition(":")
        target = getattr(import_module(module), attribute)
        assert isinstance(target, type)
    try:
        return target(**(settings or {}))
    except TypeError as error:
        raise VocabularyError(f"domain {name!r} cannot be made with {dict(settings or {})}: {error}") from error


def domains_of(tokenizer: PreTrainedTokenizerBase) -> dict[str, Domain]:
    """Give the domains that a tokenizer was extended by.

    Args:
        tokenizer: of an extended checkpoint.

    Returns:
        The domains by their names, in the order of their ids; none where it was not extended.

    Raises:
        VocabularyError: the tokens of a domain are not those that the tokenizer has, as after another release of the
            package.
        CheckpointError: what the tokenizer keeps of its spaces is damaged.
    """
    found = {}
    spaces = Spaces.read(tokenizer)
    for name, space in spaces.items():
        if name in spaces.codes:
            continue
        domain = found[name] = make_domain(name, space.settings)
        texts = [domain.text_of(index) for index in range(len(domain.tokens))]
        if tokenizer.convert_tokens_to_ids(texts) != list(range(space.base, space.base + space.size)):
            raise VocabularyError(
                f"the tokenizer was extended by another version of domain {name!r}; use the release of hf_tokext that did it"
            )
    return found
