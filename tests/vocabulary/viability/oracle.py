"""Viable sequences by brute force: the beginnings of the encodings of all texts over a small alphabet."""

from itertools import product

from tokenizers import Tokenizer

from hf_tokext.vocabulary.viability.base import Viability


def encodings(tokenizer: Tokenizer, alphabet: str, longest: int) -> dict[str, tuple[int, ...]]:
    """Ids of every text over the alphabet up to a length, without the template's special tokens."""
    texts = ["".join(letters) for size in range(longest + 1) for letters in product(alphabet, repeat=size)]
    found = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return {text: tuple(each.ids) for text, each in zip(texts, found, strict=True)}


def beginnings(found: dict[str, tuple[int, ...]]) -> set[tuple[int, ...]]:
    """All beginnings of the encodings, the empty one and the whole ones included."""
    return {ids[:size] for ids in found.values() for size in range(len(ids) + 1)}


def accepted(viability: Viability, longest: int, ids: list[int]) -> set[tuple[int, ...]]:
    """All sequences of the given ids up to a length that are viable by the states' own account."""
    level = {(): viability.start()}
    found = {(): level[()]}
    for _ in range(longest):
        level = {
            (*read, index): viability.advance(state, index)
            for read, state in level.items()
            for index in ids
            if viability.allowed(state)[index]
        }
        found |= level
    return set(found)


def accepted_texts(viability: Viability, longest: int, sizes: dict[int, int]) -> dict[tuple[int, ...], bool]:
    """All sequences of ids, each with its size, up to a size that are viable by the states' account, and if complete."""
    todo = [((), 0, viability.start())]
    found = {}
    while todo:
        read, size, state = todo.pop()
        found[read] = viability.complete(state)
        allowed = viability.allowed(state)
        for index, own in sizes.items():
            if allowed[index] and size + own <= longest:
                todo.append(((*read, index), size + own, viability.advance(state, index)))
    return found
