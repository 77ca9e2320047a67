"""What tokens are to be made of, none of them being used for another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.spelling import Speller


def spelled_without(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    ids: Sequence[int],
    method: str,
    descriptions: Mapping[str, str],
) -> list[tuple[int, ...]]:
    """Find the other tokens that spell tokens, or what describes them.

    Args:
        tokenizer: the tokenizer.
        vocabulary: its vocabulary.
        ids: N tokens.
        method: "description" spells what describes a token; any other its own bytes.
        descriptions: by the text of a token; its own text where it has none.

    Returns:
        For each token the ids that spell it, none of `ids` among them.
    """
    wanted = set(ids)
    # by the longest matches of what is left, as the tokenizer itself would give the token back
    kept = tuple(None if index in wanted else piece for index, piece in enumerate(vocabulary.pieces))
    speller = Speller(replace(vocabulary, pieces=kept))
    found = []
    for index in ids:
        described = descriptions.get(str(tokenizer.convert_ids_to_tokens(index))) if method == "description" else None
        encoded = tokenizer(described, add_special_tokens=False)["input_ids"] if described else ()
        spelling = tuple(each for each in encoded if each not in wanted)
        found.append(spelling or speller.spell_greedily(vocabulary.piece(index)))
    return found
