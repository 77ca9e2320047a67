"""Generation with an extended model."""

from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import VocabularyError
from hf_tokext.extend.domains import domains_of
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor
from hf_tokext.vocabulary.spaces import Spaces


def keep_to_grammar(
    tokenizer: PreTrainedTokenizerBase, max_length: int | None = None, only: str | None = None
) -> GrammarLogitsProcessor:
    """Make a logits processor that keeps the documents a model writes well-formed, for `generate`.

    Args:
        tokenizer: of an extended model.
        max_length: as given to `generate`, so that every document is closed by then; None sets no end.
        only: the domain of which one document is to be written, and nothing else; None writes text, in which the model
            opens documents where it wants.

    Returns:
        The processor, for `generate(logits_processor=[...])`.

    Raises:
        VocabularyError: the tokenizer has no domains, not that one, or no eos.
        CheckpointError: what the tokenizer keeps of its domains is damaged.
    """
    spaces = Spaces.read(tokenizer)
    if not spaces:
        raise VocabularyError("the tokenizer has no domains: extend the model first (hf_tokext.extend_model)")
    domains = [(domain, spaces[name].base) for name, domain in domains_of(tokenizer).items()]
    codes = [(space, space.grammar_ids) for space in spaces.codes.values()]
    return GrammarLogitsProcessor([*domains, *codes], max_length, only, tokenizer.eos_token_id)  # type: ignore[arg-type]
