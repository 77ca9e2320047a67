"""Digit schemes: a tokenizer rewritten so that numbers are cut in a way that a model can calculate with."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import PreTokenizer

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.digit_ids import DIGITS, add_digit_groups, digit_strings
from hf_tokext.vocabulary.digit_patterns import SCHEMES, ends_before_more, group_width, groups
from hf_tokext.vocabulary.digit_words import cut_inside_words
from hf_tokext.vocabulary.pieces import TOKENIZER_FILE, Vocabulary, components, read_vocabulary, tokenizer_spec
from hf_tokext.vocabulary.settings import settings

CONFIG_FILE = "tokenizer_config.json"
# In numbers like these no part of a pre-tokenizer may have cut before the digits are grouped.
NUMBERS = ("1234567", "3.14159", "x.1234", "31.12.2024", "1..1234")
# What every rewritten tokenizer is tried on: text, and the groups under each scheme where there are several.
PROOFS: tuple[tuple[str, str, str], ...] = (
    ("1234567", "123 456 7", "1 234 567"),
    ("x 123456\n", "123 456", "123 456"),
    (" -3.14159", "3 141 59", "3 141 59"),
    ("1,234,567.89", "1 234 567 89", "1 234 567 89"),
    ("31.12.2024", "31 12 202 4", "31 12 2 024"),
    ("abc12345def", "123 45", "12 345"),
    ("00012 + 0012", "000 12 001 2", "00 012 0 012"),
)
UNCHANGED = ("The cat sat\n\n  on the   mat; don't!\t", "\u00e9t\u00e9 \u4f60\u597d a_b.c (x) -> {y}", "#tag ## ...")
T = TypeVar("T")


def rewrite_digits(tokenizer: T, scheme: str) -> T:
    """Rewrite a tokenizer so that every run of digits is cut into groups, each of which is one token.

    Schemes, for runs of the ASCII digits 0 to 9 as the tokenizer's own normalizer leaves them (other scripts' digits
    stay as they were):

    * `single`: 1234567 is 1|2|3|4|5|6|7.
    * `left3`: threes from the left, 123|456|7, whatever stands before.
    * `right3`: threes from the right, by place value: 1|234|567. A fraction is grouped from its point onward: 3.14159
      is 3|.|141|59. Thousands separators (1,234,567) are aligned by themselves: a run ends at anything but a digit. A
      point starts a fraction unless it follows a letter, another point, or a point and at most six digits (so that the
      year of 31.12.2024 is 2|024). The comma is never taken for a decimal point.

    A group is never joined with what stands beside it, a space for instance. Runs may have any length: the time is
    linear, and their groups are the same from the right whatever the length.

    What the tokenizer had keeps its id. Groups that it lacks (with threes there are 1,110) are appended as ordinary
    tokens. Text without digits gets the ids it had, and so do the pieces of other text that have no digits in them. The
    result holds built-in parts of `tokenizers` only.

    After "Tokenization counts" (Singh and Strouse, arXiv 2402.14903), which found that GPT-3.5 and GPT-4 add better when
    digits are grouped from the right; the rules for fractions, dates and long runs are ours.

    Args:
        tokenizer: a parsed tokenizer.json (a dict), a `tokenizers.Tokenizer`, or a transformers tokenizer backed by
            one; not changed.
        scheme: "single", "left3" or "right3".

    Returns:
        A new one of the same kind; for a transformers tokenizer a `TokenizersBackend`, the class that takes
        tokenizer.json as it stands.

    Raises:
        VocabularyError: the scheme is unknown, there is no tokenizer.json, the tokenizer's own parts cut numbers in
            a way that cannot be undone, or ordinary added tokens begin or end with digits.
    """
    if scheme not in SCHEMES:
        raise VocabularyError(f"there is no digit scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    if isinstance(tokenizer, dict):
        return _rewritten(tokenizer, scheme)  # type: ignore[return-value]
    if isinstance(tokenizer, Tokenizer):
        return Tokenizer.from_str(json.dumps(_rewritten(tokenizer_spec(tokenizer), scheme)))  # type: ignore[return-value]
    tokenizer_spec(tokenizer)  # says what is wrong if it is of no such kind
    from transformers import TokenizersBackend

    with TemporaryDirectory() as scratch:
        tokenizer.save_pretrained(scratch)  # type: ignore[attr-defined]
        rewrite_digits_in_folder(scratch, scheme)
        loaded = TokenizersBackend.from_pretrained(scratch, **settings(tokenizer))
    loaded.name_or_path = loaded.init_kwargs["name_or_path"] = tokenizer.name_or_path  # type: ignore[attr-defined]
    return loaded


def rewrite_digits_in_folder(folder: str | Path, scheme: str) -> None:
    """Rewrite the tokenizer of a folder in place, as `rewrite_digits` does.

    Args:
        folder: with a tokenizer.json, and perhaps a tokenizer_config.json, whose class becomes `TokenizersBackend`.
        scheme: "single", "left3" or "right3".

    Raises:
        VocabularyError: as for `rewrite_digits`.
    """
    spec = rewrite_digits(tokenizer_spec(folder), scheme)
    path = Path(folder) / CONFIG_FILE
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    config["tokenizer_class"] = "TokenizersBackend"  # other classes rebuild the pre-tokenizer by their own rules
    config.pop("auto_map", None)
    (Path(folder) / TOKENIZER_FILE).write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")


def _rewritten(source: dict[str, Any], scheme: str) -> dict[str, Any]:
    old = Tokenizer.from_str(json.dumps(source))
    spec = json.loads(old.to_str())  # ids of added tokens and the form of merges as tokenizers itself has them
    _refuse_tokens_that_cut_numbers(spec, old, scheme)
    add_digit_groups(spec, group_width(scheme))
    if spec["model"]["type"] == "WordPiece":
        cut_inside_words(spec, scheme)
    else:
        spec["pre_tokenizer"] = _pre_tokenizer(list(components(spec, "pre_tokenizer")), scheme)
    _prove(spec, old, scheme)
    return spec


def _refuse_tokens_that_cut_numbers(spec: dict[str, Any], old: Tokenizer, scheme: str) -> None:
    """Added tokens are taken out of a text first; one that begins or ends with a digit takes it from longer numbers."""
    cutting = []
    for token in spec["added_tokens"]:
        text = token["content"]
        matched = old.normalizer.normalize_str(text) if token["normalized"] and old.normalizer else text
        is_group = len(matched) == group_width(scheme) == 1
        if not (token["special"] or is_group) and (set(matched[:1]) | set(matched[-1:])) & set(DIGITS):
            cutting.append(text)
    if cutting:
        more = f" and {len(cutting) - 5} more" if cutting[5:] else ""
        raise VocabularyError(
            f"this tokenizer cannot be given the digit scheme {scheme!r}: its added tokens "
            f"{', '.join(map(repr, cutting[:5]))}{more} begin or end with a digit and would be cut out of longer numbers; "
            "give a tokenizer without them, or mark them special if they stand for no text"
        )


def _pre_tokenizer(parts: list[dict[str, Any]], scheme: str) -> dict[str, Any]:
    """The parts that leave numbers whole; cuts inside runs; the other parts; and last, digits apart from the rest.

    Runs are cut where the text around them can still be seen, and digits are taken out of it only at the end, so that
    the old parts cut everything else as before: the last space before a number, for instance.
    """
    first = next((i for i, part in enumerate(parts) if any(len(_cut(part, number)) > 1 for number in NUMBERS)), None)
    before, after = (parts, []) if first is None else (parts[:first], parts[first:])
    if after and after[0].get("add_prefix_space"):
        # it would put a space before every piece that reaches it; the same rule, applied before the cuts
        space = {"type": "Metaspace", "replacement": " ", "prepend_scheme": "always", "split": False}
        before, after = [*before, space], [after[0] | {"add_prefix_space": False}, *after[1:]]
    cuts = _split(ends_before_more(scheme), "MergedWithPrevious")
    kept = [_whole_groups(part, scheme) for part in after]
    return {"type": "Sequence", "pretokenizers": [*before, cuts, *kept, _split(groups(scheme), "Isolated")]}


def _split(pattern: str, behavior: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _whole_groups(part: dict[str, Any], scheme: str) -> dict[str, Any]:
    """The same part, made to leave a group of digits whole."""
    if all(len(_cut(part, "9" * length)) == 1 for length in range(1, group_width(scheme) + 1)):
        return part
    if part["type"] == "Digits":
        return _split(rf"{groups(scheme)}|\p{{N}}", "Isolated")
    if part["type"] == "Split" and "Regex" in part["pattern"]:
        return part | {"pattern": {"Regex": f"{groups(scheme)}|(?:{part['pattern']['Regex']})"}}
    return part


def _cut(part: dict[str, Any], text: str) -> list[str]:
    model = {"type": "WordLevel", "vocab": {"": 0}, "unk_token": ""}
    read = Tokenizer.from_str(json.dumps({"version": "1.0", "model": model, "pre_tokenizer": part})).pre_tokenizer
    assert isinstance(read, PreTokenizer)
    return [piece for piece, _ in read.pre_tokenize_str(text)]


def _prove(spec: dict[str, Any], old: Tokenizer, scheme: str) -> None:
    new = Tokenizer.from_str(json.dumps(spec))
    for each in (old, new):
        each.no_truncation()
        each.no_padding()
    vocabulary = read_vocabulary(spec)
    cases = [(text, left if scheme == "left3" else right) for text, left, right in PROOFS]
    cases += [(group, group) for group in digit_strings(group_width(scheme))]
    for text, expected in cases:
        wanted = list(expected.replace(" ", "")) if scheme == "single" else expected.split()
        found = _digits(new, vocabulary, text)
        if found != wanted:
            raise VocabularyError(
                f"this tokenizer cannot be given the digit scheme {scheme!r}: {text!r} became {'|'.join(found)} instead "
                f"of {'|'.join(wanted)}, since its own normalizer, pre-tokenizer or added tokens change or cut numbers; "
                "give a tokenizer without such parts"
            )
    for text, kept in [*((text, False) for text, *_ in PROOFS), *((text, True) for text in UNCHANGED)]:
        ids, before = (each.encode(text, add_special_tokens=False).ids for each in (new, old))
        lost = old.decode(before) == text != new.decode(ids)
        if lost or (kept and ids != before):
            raise VocabularyError(
                f"this tokenizer cannot be given the digit scheme {scheme!r}: {text!r} would be "
                f"{'lost when decoded' if lost else 'encoded differently though it has no digits'}, since its "
                "pre-tokenizer adds or removes text at every cut; give a tokenizer without such parts"
            )


def _digits(tokenizer: Tokenizer, vocabulary: Vocabulary, text: str) -> list[str]:
    """The pieces of a text's tokens that hold digits, without spaces at their ends."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = [vocabulary.piece(index).strip().decode(errors="replace") for index in ids]
    return [piece for piece in pieces if any(character in DIGITS for character in piece)]
