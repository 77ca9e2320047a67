"""Putting the tokens of domains on a tokenizer."""

import copy
import re
from collections.abc import Sequence

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.domain import Domain
from hf_tokext.vocabulary.spaces import Space, Spaces


def extended_tokenizer(tokenizer: PreTrainedTokenizerBase, domains: Sequence[Domain]) -> PreTrainedTokenizerBase:
    """Give a tokenizer that has the tokens of domains, too; text is encoded as before.

    Each token is one id wherever its text stands, whatever stands around it, and is not special: decoding keeps it. The
    ids of a domain follow one another, and the tokenizer keeps which they are (`Spaces.read`).

    Args:
        tokenizer: the base's tokenizer; it is not changed.
        domains: the domains, none that it has already.

    Returns:
        The new tokenizer.

    Raises:
        VocabularyError: it has tokens of a domain already, or gives theirs no ids of their own.
    """
    found = copy.deepcopy(tokenizer)
    spaces = list(Spaces.read(tokenizer).values())
    for domain in domains:
        texts = [domain.text_of(index) for index in range(len(domain.tokens))]
        ids = add_texts(found, texts, f": it was extended by {domain.name!r} before")
        if ids != list(range(ids[0], ids[0] + len(texts))):
            raise VocabularyError(f"the tokenizer gives the tokens of {domain.name!r} no ids that follow one another")
        encoded = found("".join(texts), add_special_tokens=False)["input_ids"]
        if encoded != ids:
            raise VocabularyError(f"the tokenizer does not encode the tokens of {domain.name!r} to one id each")
        spaces.append(Space(domain.name, ids[0], len(texts), domain.settings))
    Spaces(spaces).write(found)
    return found


def add_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], known_as: str) -> list[int]:
    """Give a tokenizer tokens of these texts, which are one id each wherever they stand, and not special.

    Args:
        tokenizer: it is changed.
        texts: none that it has already.
        known_as: what a message says of one that it has.

    Returns:
        Their ids.

    Raises:
        VocabularyError: it has one already, or gives them ids that others have.
    """
    taken = tokenizer.get_vocab()
    known = sorted(set(texts) & taken.keys())
    if known:
        raise VocabularyError(f"the tokenizer has {known[0]!r} already{known_as}")
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in texts])
    ids = tokenizer.convert_tokens_to_ids(list(texts))
    assert isinstance(ids, list)
    if set(ids) & set(taken.values()):  # tokenizers counts on from the number of tokens, not from the last id
        raise VocabularyError(
            f"the tokenizer's ids have gaps (it has {len(taken)} tokens, and ids up to {max(taken.values())}), so that "
            "new tokens would get ids that others have; give it tokens for the ids that are missing"
        )
    return ids


def descriptions_of(domains: Sequence[Domain]) -> dict[str, str]:
    """Say in English what every token of domains means.

    Args:
        domains: the domains.

    Returns:
        Descriptions by the texts of the tokens; where a domain has none, the name of the domain and that of the token.
    """
    found = {}
    for domain in domains:
        for index, token in enumerate(domain.tokens):
            plain = " ".join(re.findall(r"[^\W_]+", f"{domain.name} {token}"))
            found[domain.text_of(index)] = domain.descriptions.get(token, plain)
    return found
