"""A new tokenizer from the user's text, with the pipeline of an existing one."""

import copy
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import is_progress_bar_enabled

from hf_tokext.errors import TextError, TokextError, VocabularyError
from hf_tokext.vocabulary.pieces import Vocabulary, components, read_vocabulary, space_mark
from hf_tokext.vocabulary.roles import ROLE_OF_ATTRIBUTE, roles

CHUNK = 10_000
CHECKED = 200_000  # characters of the text that are looked through for losses
COVERAGE = 0.9995  # share of the text whose characters get ids of their own beside byte tokens, as in SentencePiece
HEXADECIMAL = "<0123456789ABCDEFx>"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
INSIDE_BYTE = re.compile("(?<=<0x)(?=[0-9A-F]{2}>)")
RESERVED = re.compile("unused|reserved|placeholder|dummy", re.IGNORECASE)


def train_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], vocab_size: int
) -> PreTrainedTokenizerBase:
    """Train a tokenizer of the same kind, normalizer, pre-tokenizer and special tokens on other text.

    Special tokens keep their names, but for placeholders (`<unused0>`, `<|reserved_special_token_0|>`) that have no role
    and stand neither in the chat template nor in the post-processor. Other added tokens stay if they have a role or stand
    in the chat template. Tokenizers with byte fallback keep their 256 byte tokens. Those without any bytes (WordPiece, many
    a Unigram) keep the single characters that they know, or only the ASCII ones where all would take more than a quarter
    of the ids: other characters that the text lacks come out as unknown. Where the pipeline cuts no words
    (Llama 2, Gemma), no token learnt crosses a word or mixes letters, digits and signs: the pipeline stays as it was, and
    gives the same ids as if it cut there, since no merge goes across. A progress bar is shown on a terminal, unless
    transformers' own are turned off.

    Args:
        tokenizer: the tokenizer whose pipeline is kept.
        texts: the text to learn from.
        vocab_size: number of ids wanted, special tokens included; text may be too small to reach it.

    Returns:
        The new tokenizer.

    Raises:
        TextError: there is no text, or it is one string instead of a sequence of them.
        VocabularyError: `vocab_size` is too small for the special tokens and the alphabet, or the new tokenizer would
            lose text that the old one does not lose.
    """
    if isinstance(texts, str):
        raise TextError("the text to train a tokenizer on is one string; give a list of texts, such as [text]")
    if not any(text.strip() for text in texts):
        raise TextError("the text to train a tokenizer on is empty; pass files with the text of your domain")
    vocabulary = read_vocabulary(tokenizer)
    spec = vocabulary.spec
    byte_level, fallback = vocabulary.kind == "byte_level", bool(spec["model"].get("byte_fallback"))
    kept = _kept_tokens(tokenizer, vocabulary)
    least = len(kept) + 256 * (byte_level or fallback)
    if vocab_size <= least:
        raise VocabularyError(
            f"a vocabulary of {vocab_size} is too small: special tokens and alphabet alone are {least} ids"
        )

    def chunks() -> Iterator[str]:
        for text in texts:
            for start in range(0, len(text), CHUNK):
                # a token learnt from the text "<0x41>" could not be told from the byte token
                yield from INSIDE_BYTE.split(text[start : start + CHUNK]) if fallback else [text[start : start + CHUNK]]

    options: dict[str, Any] = {}
    extra: tuple[str, ...] = BYTES if fallback else ()
    if byte_level:  # without the whole alphabet, bytes that the text lacks would vanish from later text without a word
        options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
    elif fallback and spec["model"]["type"] == "BPE":
        options["limit_alphabet"] = min((vocab_size - least + 1) // 2, _characters_worth_an_id(texts))
    elif spec["model"]["type"] == "Unigram":
        options["initial_alphabet"] = list(HEXADECIMAL) if fallback else _alphabet(spec, vocab_size)
    elif not fallback:
        extra = tuple(_alphabet(spec, vocab_size))
    twin = _for_training(tokenizer, vocabulary, kept)
    # off a terminal the trainer shows no bar but prints an empty line for each, on stdout
    shows = is_progress_bar_enabled() and sys.stderr.isatty()
    try:
        new = twin.train_new_from_iterator(
            chunks(), vocab_size - (len(extra) if fallback else 0), show_progress=shows, **options
        )
    except TokextError:
        raise
    except Exception as error:  # what Rust raises has no class of its own
        raise VocabularyError(
            f"no tokenizer of {vocab_size} ids could be trained ({error}); take more ids, or leave rare characters out of "
            "the text"
        ) from error
    _finish(new, spec, kept, extra, vocab_size)
    if len(new) > vocab_size:
        raise VocabularyError(
            f"the text has so many different characters that the vocabulary has {len(new)} ids, not {vocab_size}; take "
            "more ids, or leave rare characters out of the text"
        )
    _refuse_losses(tokenizer, new, texts)
    return new


def _kept_tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """The added tokens, as tokenizer.json has them, that the new tokenizer shall have; the unknown token is one."""
    spec, templates = vocabulary.spec, tokenizer.chat_template or ""
    template = "\n".join(templates.values()) if isinstance(templates, dict) else templates
    used = {vocabulary.piece(index).decode() for index in vocabulary.named.values()}
    for part in components(spec, "post_processor"):
        used |= {token for entry in (part.get("special_tokens") or {}).values() for token in entry["tokens"]}
        used |= {part[end][0] for end in ("cls", "sep") if end in part}
    markers = [found for role, found in roles(vocabulary).items() if role not in ROLE_OF_ATTRIBUTE.values()]
    used |= {vocabulary.piece(index).decode() for found in markers for index in found}
    kept = []
    for token in spec.get("added_tokens") or []:
        text = token["content"]
        stays = (token["special"] or spec["model"]["type"] == "Unigram") and not RESERVED.search(text)
        if stays or text in used or (text.strip() and text in template):
            kept.append(token)
    have = {token["content"] for token in kept}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    kept += [
        {"id": index, "content": text, **flags} for index, text in vocabulary.special.items()
        if text not in have and index not in vocabulary.added
    ]  # fmt: skip
    return kept


def _for_training(
    tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, kept: list[dict[str, Any]]
) -> PreTrainedTokenizerBase:
    """A copy in which what is kept counts as special, and which cuts words."""
    twin: Any = copy.copy(tokenizer)
    spec = vocabulary.spec | {"added_tokens": [token | {"special": True} for token in kept]}
    if _cuts_nothing(tokenizer):
        mark = re.escape("Ġ" if vocabulary.kind == "byte_level" else space_mark(spec) or " ")
        letters, digits = r"\p{L}\p{M}", r"\p{N}"
        runs = (f"[{letters}]+", f"[{digits}]+", rf"[^\s{mark}{letters}{digits}]+")
        pattern = rf"{mark}*(?:{'|'.join(runs)})|{mark}+|[^\S{mark}]+"
        spec["pre_tokenizer"] = {
            "type": "Split",
            "pattern": {"Regex": pattern},
            "behavior": "Isolated",
            "invert": False,
        }
    twin._tokenizer = Tokenizer.from_str(json.dumps(spec))
    texts = {token["content"] for token in kept}
    # without what all that were dropped would come back from
    twin.init_kwargs = {name: value for name, value in twin.init_kwargs.items() if name != "added_tokens_decoder"}
    twin._extra_special_tokens = [token for token in twin.extra_special_tokens or [] if str(token) in texts]
    return twin


def _cuts_nothing(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether words reach the model in one string; Gemma's pre-tokenizer looks for spaces where none are left."""
    core = tokenizer.backend_tokenizer
    if core.pre_tokenizer is None:
        return True
    text = "one two three" if core.normalizer is None else core.normalizer.normalize_str("one two three")
    return len(core.pre_tokenizer.pre_tokenize_str(text)) == 1


def _alphabet(spec: dict[str, Any], vocab_size: int) -> list[str]:
    """Tokens of single characters, as the vocabulary spells them."""
    model = spec["model"]
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    listed = [token for token, _ in model["vocab"]] if model["type"] == "Unigram" else sorted(model["vocab"])
    if model["type"] == "WordLevel":
        return []
    found = [token for token in listed if len(token.removeprefix(prefix).removesuffix(suffix)) == 1]
    return found if 4 * len(found) <= vocab_size else [token for token in found if token.isascii()]


def _characters_worth_an_id(texts: Sequence[str]) -> int:
    counts = Counter[str]()
    for text in texts:
        counts.update(text)
    wanted = COVERAGE * counts.total()
    return 1 + sum(covered < wanted for covered in accumulate(count for _, count in counts.most_common()))


def _finish(new: Any, old: dict[str, Any], kept: list[dict[str, Any]], extra: tuple[str, ...], vocab_size: int) -> None:
    """Give a trained tokenizer the tokens it must have, the old pre-tokenizer, and the flags of the added tokens."""
    spec = json.loads(new.backend_tokenizer.to_str())
    spec["pre_tokenizer"] = old["pre_tokenizer"]
    if "byte_fallback" in old["model"]:
        spec["model"]["byte_fallback"] = old["model"]["byte_fallback"]  # Unigram's trainer forgets it
    flags = {token["content"]: token["special"] for token in kept}
    real = {token["content"] for token in old.get("added_tokens") or []}
    spec["added_tokens"] = [
        token | {"special": flags.get(token["content"], token["special"])}
        for token in spec["added_tokens"] if token["content"] in real or token["content"] not in flags
    ]  # fmt: skip
    if extra:
        _insert(spec, set(flags), extra, vocab_size)
    new._tokenizer = Tokenizer.from_str(json.dumps(spec))


def _insert(spec: dict[str, Any], kept: set[str], extra: tuple[str, ...], vocab_size: int) -> None:
    """Put tokens behind the special ones, which have the first ids; what was learnt last makes room."""
    model = spec["model"]
    unigram = model["type"] == "Unigram"
    score: dict[str, float] = dict(model["vocab"])
    listed = list(score) if unigram else sorted(score, key=lambda token: score[token])
    clash = set(listed) & set(extra) & set(BYTES)
    if clash:
        raise VocabularyError(f"the text has the byte token {min(clash)} in it: take it out and train again")
    first = sum(token in kept for token in listed)
    missing = [token for token in extra if token not in score]
    prefix = model.get("continuing_subword_prefix") or ""
    room = max(0, vocab_size - len(missing))
    made = {one + other.removeprefix(prefix) for one, other in model.get("merges", ())}
    while len(listed) > room and (not made or listed[-1] in made) and len(listed) > first:
        if len(listed[-1].removeprefix(prefix)) == 1:
            break  # the alphabet
        listed.pop()
    if made:
        left = set(listed)
        model["merges"] = [
            [one, other] for one, other in model["merges"]
            if one + other.removeprefix(prefix) in left
        ]  # fmt: skip
    tokens = [*listed[:first], *missing, *listed[first:]]
    if unigram:
        # lower than any spelling of the same six characters, so that text which looks like a byte token is not one
        low = 20 * min(score.values()) - 100
        model["vocab"] = [[token, score.get(token, low)] for token in tokens]
    else:
        model["vocab"] = {token: index for index, token in enumerate(tokens)}
    for token in spec["added_tokens"]:
        token["id"] += len(missing) * (token["id"] >= first)


def _refuse_losses(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
    share = min(1.0, CHECKED / sum(map(len, texts)))
    parts = [text[: max(100, int(share * len(text)))] for text in texts]
    lost_before, lost = _lost(old, parts), _lost(new, parts)
    if lost.total() > lost_before.total():
        worst = ", ".join(repr(character) for character, _ in (lost - lost_before).most_common(5))
        raise VocabularyError(
            f"the new tokenizer loses {lost.total()} characters of its own text ({worst}, ...), the old one "
            f"{lost_before.total()}: take a larger vocabulary, leave rare characters out of the text, or choose a base "
            "whose tokenizer works on bytes"
        )


def _lost(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Counter[str]:
    """Characters, but for blanks, that end in no token or in the unknown one."""
    core = tokenizer.backend_tokenizer
    if core.truncation or core.padding:
        core = Tokenizer.from_str(core.to_str())
        core.no_truncation()
        core.no_padding()
    unknown = {index for index, text in read_vocabulary(tokenizer).special.items() if text == tokenizer.unk_token}
    lost = Counter[str]()
    for text in texts:
        encoding = core.encode(text, add_special_tokens=False)
        seen = bytearray(len(text))
        for (start, end), index in zip(encoding.offsets, encoding.ids, strict=True):
            if index not in unknown:
                seen[start:end] = b"\1" * (end - start)
        lost.update(character for character, found in zip(text, seen, strict=True) if not found and character.strip())
    return lost
