"""A domain: texts with a grammar, such as drawings or molecules, as typed tokens."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.grammar import Grammar


class Domain(ABC):
    """Texts of one kind, and the tokens they are made of.

    A document is a sequence of tokens that the grammar lets stand; the first one opens it, and the second closes it. A
    family fills in what is abstract here.

    Args:
        tokens: names of the tokens in the order of their indices, without blanks; the first two open and close a document.
        descriptions: what a token means in plain English, for the rows of a model that learns it; by name, not of every one.

    Attributes:
        name: what users type, such as "svg".
        tokens: as given.
        descriptions: as given.
        grammar: which tokens may follow which.

    Raises:
        VocabularyError: two tokens have one name, or a name has a blank.
    """

    name: ClassVar[str]
    grammar: Grammar[Any]

    def __init__(self, tokens: Sequence[str], descriptions: Mapping[str, str]) -> None:
        self.tokens = tuple(tokens)
        self.descriptions = dict(descriptions)
        self._index = {token: index for index, token in enumerate(self.tokens)}
        if len(self._index) < len(self.tokens) or any(set(token) & set("|<> \t\n") for token in self.tokens):
            raise VocabularyError(f"the tokens of domain {self.name!r} must be distinct, without blanks, | and < >")

    def __reduce__(self) -> tuple[Callable[[], "Domain"], tuple[()]]:
        return partial(type(self), **self.settings), ()  # pickled by what makes it again

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What makes this domain again: arguments of its class, as JSON has them."""

    @abstractmethod
    def parse(self, text: str) -> list[int]:
        """Read a document.

        Args:
            text: the document.

        Returns:
            Indices of its tokens, the opening and the closing one included; the grammar lets them stand.

        Raises:
            TextError: it is no document of this domain; the message says where and why.
        """

    @abstractmethod
    def write(self, indices: Sequence[int]) -> str:
        """Write a document.

        Args:
            indices: any tokens of the domain, those of a half-trained model too: what may not stand where it stands is
                left out, and what is missing at the end is added.

        Returns:
            A well-formed document; that of `parse` up to what the mode of the domain leaves out.
        """

    def index(self, token: str) -> int:
        """Index of a token.

        Args:
            token: its name.

        Returns:
            The index.

        Raises:
            VocabularyError: the domain has no such token.
        """
        if token not in self._index:
            raise VocabularyError(f"domain {self.name!r} has no token {token!r}")
        return self._index[token]

    def text_of(self, index: int) -> str:
        """How a token is spelt in the vocabulary of a language model, where no other text is like it.

        Args:
            index: of the token.

        Returns:
            Such as "<|svg:path|>".
        """
        return f"<|{self.name}:{self.tokens[index]}|>"

    def spell(self, text: str) -> str:
        """Give a document as the tokens of a language model that has learnt the domain.

        Args:
            text: the document.

        Returns:
            Their texts; the extended tokenizer gives one id each.

        Raises:
            TextError: it is no document of this domain.
        """
        return "".join(map(self.text_of, self.parse(text)))

    def documents(self, text: str) -> list[str]:
        """Find the documents in what a language model has written.

        Args:
            text: its text; what stands outside of documents is left out.

        Returns:
            The documents in order, well-formed; the last one may have been cut off.
        """
        found: list[list[int]] = []
        for token in re.findall(rf"<\|{re.escape(self.name)}:([^|]*)\|>", text):
            index = self._index.get(token)
            if index == 0:
                found.append([])
            if found and index is not None:
                found[-1].append(index)
        return [self.write(indices) for indices in found]
