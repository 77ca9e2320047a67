"""Putting domains on a language model: its own vocabulary stays, and theirs comes beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import VocabularyError
from hf_tokext.extend.domains import make_domain
from hf_tokext.extend.spellings import describing_ids
from hf_tokext.extend.tokens import descriptions_of, extended_tokenizer
from hf_tokext.transplant import Report, transplant_checkpoint, transplant_tokenizer
from hf_tokext.transplant.checkpoint_source import local_folder
from hf_tokext.transplant.tokenizer_files import load_tokenizer
from hf_tokext.vocabulary.domain import Domain

DESCRIPTION, PIECES = "description", "pieces"
HUB = ("revision", "token", "cache_dir")


def extend_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    domains: Sequence[str | Domain],
    *,
    method: str = DESCRIPTION,
    descriptions: Mapping[str, str] | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, Report]:
    """Teach a model's vocabulary the tokens of domains, such as drawings.

    Rows of old ids stay as they are, bit by bit. `domains_of` gives the domains of the new tokenizer, which read and write
    documents; `keep_to_grammar` keeps generation well-formed. The new rows are a start: the model is to be trained.

    Args:
        model: any causal, masked or encoder-decoder LM; changed in place once everything is computed.
        tokenizer: its tokenizer.
        domains: names, such as "svg", or domains with settings of your own.
        method: how new rows are made: "description", the mean of the rows of a description in English (after LLM4SVG, Xing
            et al., arXiv 2412.11102; without its most frequent words), in the input and the output matrix; "pieces", the
            mean of the pieces of the token's own text; or a row method.
        descriptions: other descriptions, by the text of a token such as "<|svg:path|>".
        **options: as for `transplant_tokenizer`.

    Returns:
        The model, its new tokenizer, and the report.

    Raises:
        VocabularyError: a domain is unknown, or there already; a description is of no token.
        TokextError: another one, as for `transplant_tokenizer`.
    """
    made = _made(domains)
    new = extended_tokenizer(tokenizer, made)
    overrides = _overrides(tokenizer, made, method, descriptions)
    return transplant_tokenizer(model, tokenizer, new, method=_row_method(method), overrides=overrides, **options)


def extend_checkpoint(
    base: str | Path,
    output_dir: str | Path,
    domains: Sequence[str | Domain],
    *,
    method: str = DESCRIPTION,
    descriptions: Mapping[str, str] | None = None,
    **options: Any,
) -> Report:
    """Do the same to a checkpoint on disk, shard by shard, into a new folder.

    Args:
        base: folder or Hub id.
        output_dir: the folder to make; it appears whole and proved, or not at all.
        domains: as for `extend_model`.
        method: as for `extend_model`.
        descriptions: as for `extend_model`.
        **options: as for `transplant_checkpoint`.

    Returns:
        The report, which is also in the folder.

    Raises:
        TokextError: one of its kinds; see `hf_tokext.errors`.
    """
    made = _made(domains)
    hub = {name: options[name] for name in HUB if name in options}
    tokenizer = load_tokenizer(local_folder(base, **hub), str(base))
    overrides = _overrides(tokenizer, made, method, descriptions)
    return transplant_checkpoint(
        base,
        extended_tokenizer(tokenizer, made),
        output_dir,
        method=_row_method(method),
        overrides=overrides,
        **options,
    )


def _made(domains: Sequence[str | Domain]) -> list[Domain]:
    if isinstance(domains, str | Domain):
        domains = [domains]
    if not domains:
        raise VocabularyError("no domain is named; give one or more, such as svg")
    return [make_domain(domain) if isinstance(domain, str) else domain for domain in domains]


def _overrides(
    tokenizer: PreTrainedTokenizerBase,
    domains: Sequence[Domain],
    method: str,
    descriptions: Mapping[str, str] | None,
) -> dict[str, tuple[int, ...]]:
    """Base ids that the rows of new tokens are the means of, by the texts of these."""
    known = descriptions_of(domains)
    unknown = sorted(set(descriptions or ()) - known.keys())
    if unknown:
        raise VocabularyError(f"{unknown[0]!r} is described, but is no token of the domains; write <|svg:path|>, say")
    texts = known | dict(descriptions or {}) if method == DESCRIPTION else dict(descriptions or {})
    described = zip(texts, describing_ids(tokenizer, list(texts.values())), strict=True)
    return {token: ids for token, ids in described if ids}  # a tokenizer may lack bytes; by their pieces, then


def _row_method(method: str) -> str:
    return "compose" if method in (DESCRIPTION, PIECES) else method
