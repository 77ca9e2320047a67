"""A text as windows of ids, each opened by the token that opens a text."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import TextError, VocabularyError


def leading_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id that opens a text: bos, else cls, else eos.

    Args:
        tokenizer: any tokenizer of transformers.

    Returns:
        The id.

    Raises:
        VocabularyError: the tokenizer has none of the three.
    """
    for role in ("bos_token_id", "cls_token_id", "eos_token_id"):
        token_id = getattr(tokenizer, role, None)
        if token_id is not None:
            return int(token_id)
    raise VocabularyError(
        "the tokenizer has no bos, cls or eos token to open a window with; set tokenizer.bos_token to one of its tokens"
    )


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text without the special tokens that a template would add.

    Args:
        tokenizer: any tokenizer of transformers.
        text: what to encode, not empty.

    Returns:
        The ids, at least one.

    Raises:
        TextError: the text is empty, or no id comes out of it.
    """
    if not text:
        raise TextError("a text is empty; leave it out")
    # verbose=False: texts longer than the model's context are wanted here, they are cut afterwards.
    ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if not ids:
        raise TextError(f"the tokenizer makes no token of the text that begins {text[:40]!r}")
    return ids


def count_unknown(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> int:
    """How many ids stand for text that the tokenizer does not know.

    Args:
        tokenizer: the tokenizer that made the ids.
        ids: ids of a text.

    Returns:
        The count; 0 for tokenizers that know every text.
    """
    unknown = tokenizer.unk_token_id
    # Byte-level tokenizers know every text; they name their bos or eos as unk only to fill the role.
    if unknown is None or unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        return 0
    return list(ids).count(unknown)


def windows(ids: Sequence[int], leading: int, length: int) -> list[list[int]]:
    """Cut ids into windows that do not overlap, each opened by `leading`; every id stands in exactly one.

    Args:
        ids: ids of a text.
        leading: id that opens every window.
        length: ids in a window, `leading` included; the last window may be shorter.

    Returns:
        The windows.

    Raises:
        TextError: `length` leaves no room for text.
    """
    if length < 2:
        raise TextError(f"a window of {length} holds no text; it needs 2 ids or more")
    step = length - 1
    return [[leading, *ids[start : start + step]] for start in range(0, len(ids), step)]
