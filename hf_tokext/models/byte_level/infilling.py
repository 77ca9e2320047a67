"""Fill in the middle: prompts for models that were trained to write what stands between a prefix and a suffix."""

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.ids import BYTES
from hf_tokext.vocabulary.roles import roles

ARRANGEMENTS = ("prefix_suffix_middle", "suffix_prefix_middle")


def infilling_events(base: BaseTokens, prefix: list[int], suffix: list[int], arrangement: str) -> list[int]:
    """Arrange a prefix and a suffix around the markers.

    Where the prefix comes before the suffix, its last token may be only the beginning of one that reaches into the
    middle. Its bytes are therefore taken off and put behind the last marker: the middle has to begin with them, in
    whatever tokens. Where the prefix comes last, it is simply gone on from. The suffix is spelt in all ways. What the
    tokenizer's template puts before a text, bos in CodeGemma, DeepSeek and Code Llama, stands before all.

    Args:
        base: the base's tokens.
        prefix: events before the middle.
        suffix: events after it.
        arrangement: "prefix_suffix_middle" or "suffix_prefix_middle".

    Returns:
        The events of the prompt; what comes after them is the middle.

    Raises:
        UnsupportedModelError: the arrangement is unknown, or the base lacks the markers.

    Source: Bavarian et al., Efficient Training of Language Models to Fill in the Middle (arXiv 2207.14255), PSM and SPM.
    """
    if arrangement not in ARRANGEMENTS:
        raise UnsupportedModelError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, not {arrangement!r}")
    found = roles(base.vocabulary)
    lacking = [role for role in ("fim_prefix", "fim_suffix", "fim_middle") if role not in found]
    if lacking:
        raise UnsupportedModelError(
            f"the tokenizer has no token for {', '.join(lacking)}: this model was not trained to fill in the middle"
        )
    events = {int(index): BYTES + at for at, index in enumerate(base.marker_ids)}
    before, after, middle = (events[found[role][0]] for role in ("fim_prefix", "fim_suffix", "fim_middle"))
    opening = [events[index] for index in base.template_ids if index in events]
    if arrangement == "suffix_prefix_middle":
        return [*opening, before, after, *suffix, middle, *prefix]
    tail = _last_token(base, prefix)
    kept = prefix[: len(prefix) - tail]
    return [*opening, before, *kept, after, *suffix, middle, *prefix[len(kept) :]]


def _last_token(base: BaseTokens, events: list[int]) -> int:
    """Bytes of the last token of the tokenizer's own spelling; all of them where it cannot spell them."""
    start = max((at + 1 for at, event in enumerate(events) if event >= BYTES), default=0)
    text = bytes(events[start:])
    ends = [end for _, end in base.spell(text)]
    return len(text) - (ends[-2] if len(ends) > 1 and ends[-1] == len(text) else 0)
