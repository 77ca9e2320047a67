"""Digit groups worked out by walking over the text, character by character, and the tokenizers they are tried on."""

import string
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

DIGITS = set("0123456789")
LETTERS = set(string.ascii_letters)


def pieces(text: str) -> list[str]:
    """Runs of ASCII digits, and what lies between them."""
    found: list[str] = []
    for character in text:
        if found and (found[-1][-1] in DIGITS) == (character in DIGITS):
            found[-1] += character
        else:
            found.append(character)
    return found


def is_fraction(before: str) -> bool:
    """Whether a run that this text stands before is the fraction of a number."""
    if not before.endswith("."):
        return False
    before = before[:-1]
    if before and (before[-1] == "." or before[-1] in LETTERS):
        return False
    middle = len(before) - len(before.rstrip("0123456789"))
    return not (1 <= middle <= 6 and before[:-middle].endswith("."))


def grouped(run: str, before: str, scheme: str) -> list[str]:
    """The groups of one run."""
    if scheme == "single":
        return list(run)
    if scheme == "left3" or is_fraction(before):
        return [run[i : i + 3] for i in range(0, len(run), 3)]
    cut = []
    while run:
        cut.insert(0, run[-3:])
        run = run[:-3]
    return cut


def all_groups(text: str, scheme: str) -> list[str]:
    """The groups of all runs of a text."""
    found, before = [], ""
    for piece in pieces(text):
        if piece[0] in DIGITS:
            found += grouped(piece, before, scheme)
        before += piece
    return found


class Oracle:
    """Ids by hand: the base's own pieces, but runs of digits taken out of them and grouped."""

    def __init__(self, base: Tokenizer, new: Tokenizer, scheme: str) -> None:
        self.base, self.scheme = base, scheme
        self.model, self.ids = new.model, new.get_vocab()
        self.bytes = "ByteLevel" in str(base.pre_tokenizer)

    def encode(self, text: str) -> list[int]:
        if self.base.normalizer:
            text = self.base.normalizer.normalize_str(text)
        cuts = self.base.pre_tokenizer.pre_tokenize_str(text) if self.base.pre_tokenizer else []
        places = {place for _, span in cuts for place in span}
        found, at = [], 0
        for piece in pieces(text):
            end = at + len(piece)
            if piece[0] in DIGITS:
                found += [self.ids[group] for group in grouped(piece, text[:at], self.scheme)]
            else:
                inner = [at, *sorted(place for place in places if at < place < end), end]
                for start, stop in zip(inner, inner[1:], strict=False):
                    found += [token.id for token in self.model.tokenize(self._symbols(text[start:stop]))]
            at = end
        return found

    def _symbols(self, part: str) -> str:
        return _bytes(use_regex=False).pre_tokenize_str(part)[0][0] if self.bytes else part


def wordpiece() -> Tokenizer:
    """Of BERT's kind, with an added token after its last id and digits of two, three and four."""
    letters = string.ascii_lowercase + string.digits + ".,#'+-€"
    words = ["covid", "don", "##12", "123", "2016", "##2016", "a1", "##b2", "##1x"]
    listed = dict.fromkeys(["[UNK]", *letters, *("##" + letter for letter in letters), *words])
    core = Tokenizer(models.WordPiece({token: i for i, token in enumerate(listed)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.add_special_tokens(["[EXTRA]"])
    return core


def unigram() -> Tokenizer:
    """Of T5's kind: a space before every word, groups that lose to their parts, added tokens after the last id."""
    letters = string.ascii_lowercase + string.digits + ".,#'+-€"
    scores = {"<unk>": 0.0, "▁": -2.0, "12": -1.0, "123": -20.0, "▁1": -3.0, "covid": -5.0, "d1": -0.5, "2016": -3.0}
    listed = [*scores.items(), *((letter, -4.0) for letter in letters)]
    core = Tokenizer(models.Unigram(listed, unk_id=0, byte_fallback=False))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    core.decoder = decoders.Metaspace()
    core.add_special_tokens(["<extra_0>", "<extra_1>"])
    return core


def bytes_behind(pre_tokenizer: Any) -> Tokenizer:
    """A byte-level BPE with some merges of digits, behind another pre-tokenizer."""
    core = byte_level(300, "1234 12 123 23 1.5 1.25 x1 x12 2016 2016 the the cat 12345 " * 8).backend_tokenizer
    core.pre_tokenizer = pre_tokenizer
    return core


def _bytes(**options: Any) -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False} | options)


def _split(pattern: str, behavior: str = "isolated", **options: Any) -> pre_tokenizers.Split:
    return pre_tokenizers.Split(Regex(pattern), behavior, **options)


def kinds() -> dict[str, Tokenizer]:
    """Small tokenizers of every kind that is met with, by name."""
    together = pre_tokenizers.Sequence
    inverted = _split(r"\p{N}{1,2}| ?\p{L}+|\s+|[^\s\p{L}\p{N}]+", "removed", invert=True)
    return {
        "byte level": bytes_behind(_bytes()),
        "byte level, space before": bytes_behind(_bytes(add_prefix_space=True)),
        "byte level, digits alone first": bytes_behind(together([pre_tokenizers.Digits(True), _bytes()])),
        "byte level, digits alone in a pattern": bytes_behind(
            together([_split(r"[^\s\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), _bytes(use_regex=False)])
        ),
        "byte level, threes from the left": bytes_behind(together([_split(r"\p{N}{1,3}"), _bytes()])),
        "byte level, inverted pattern": bytes_behind(together([inverted, _bytes(use_regex=False)])),
        "sentencepiece": sentencepiece_like().backend_tokenizer,
        "unigram": unigram(),
        "wordpiece": wordpiece(),
    }


def wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    """As a transformers tokenizer."""
    return PreTrainedTokenizerFast(tokenizer_object=core)
