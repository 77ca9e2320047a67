"""What the rows of new tokens are made of: the tokens that describe or spell them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.spelling import Speller

FREQUENT = 3_000  # first ids of a vocabulary: letters and function words, which say nothing of what is described


def describing_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], without: Collection[int] = ()
) -> list[tuple[int, ...]]:
    """Ids of descriptions, but for the most frequent ones, which drown the others in a mean.

    The ids of BPE and Unigram vocabularies go from frequent pieces to rare ones. Leaving the first out brings the mean of a
    WordNet gloss nearer to the row of the word (scripts/bench_rows.py, docs/extend.md).

    Args:
        tokenizer: the tokenizer of the base.
        texts: the descriptions.
        without: ids that must not be used.

    Returns:
        The ids of each; all of them where none is rare, and none where it has none.
    """
    if not texts:
        return []
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    found = [[index for index in ids if index not in without] for ids in encoded]
    return [tuple(index for index in ids if index >= FREQUENT) or tuple(ids) for ids in found]


def spelled_without(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    ids: Sequence[int],
    method: str,
    descriptions: Mapping[str, str],
    without: Collection[int] = (),
) -> list[tuple[int, ...]]:
    """Find the other tokens that spell tokens, or what describes them.

    Args:
        tokenizer: the tokenizer.
        vocabulary: its vocabulary.
        ids: N tokens.
        method: "description" spells what describes a token; any other its own bytes.
        descriptions: by the text of a token; its own bytes are spelt where it has none.
        without: other tokens that must not be used.

    Returns:
        For each token the ids, none of `ids` and `without` among them.
    """
    wanted = {*ids, *without}
    # by the longest matches of what is left, as the tokenizer itself would give the token back
    kept = tuple(None if index in wanted else piece for index, piece in enumerate(vocabulary.pieces))
    speller = Speller(replace(vocabulary, pieces=kept))
    found = []
    for index in ids:
        described = descriptions.get(str(tokenizer.convert_ids_to_tokens(index))) if method == "description" else None
        (spelling,) = describing_ids(tokenizer, [described], wanted) if described else ((),)
        found.append(spelling or speller.spell_greedily(vocabulary.piece(index)))
    return found
