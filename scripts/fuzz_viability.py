"""Try the viable sequences of real tokenizers on real texts, and on all short strings.

    python scripts/fuzz_viability.py --tokenizer gpt2-tokenizer qwen3-tokenizer --bytes 2000000
    python scripts/fuzz_viability.py --tokenizer llama3-tokenizer --soundness 4

A tokenizer is a sample of scripts/samples.py, or a folder with tokenizer.json. Texts are sources of the standard library,
pydoc's topics, letters of many scripts, strings of hard characters, and the files under --data; what a tokenizer's normalizer
changes or it has no token for is changed or left out beforehand. Every beginning of each text's encoding must be accepted.
--soundness N asks also whether all sequences that are accepted and spell a string of up to N characters of a few kinds can be
finished as an encoding, and whether all beginnings of up to N characters are accepted of the encodings of all strings of up
to --further characters more (10 in all are 73 million strings: half an hour; less where a normalizer makes letters alike).
"""

import argparse
import random
import sys
import sysconfig
import time
import unicodedata
from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice, product
from pathlib import Path

import numpy as np
from samples import SAMPLES, sample
from tokenizers import Tokenizer

from hf_tokext.vocabulary.pieces import Vocabulary, read_vocabulary, space_mark
from hf_tokext.vocabulary.viability.base import Viability
from hf_tokext.vocabulary.viability.families import viability_of

ALPHABET = "a1 \n'\u00e9"
MOST_LEFT_OUT = 1000
CHUNK = 4000  # characters of one text
AT_ONCE = 10_000  # short strings
HARD = "aaAzsdmtrelvLSRE001239   \t\n\n\r''\"\u2019.,!?/<|>[]-_=\u00e9\u0301\u0308\u4e2d\u3042\uac00\u1100\u1161\U0001f642\u200d\u00a0\u2003\u0130\u017f"


def texts(data: Path | None, seed: int) -> Iterator[str]:
    """Yield texts of many kinds in turn, without end."""
    draw = random.Random(seed)
    kinds = [_sources(draw), _topics(), _scripts(draw), _hard(draw)] + ([_files(data)] if data else [])
    for several in zip(*kinds, strict=False):
        yield from several


def _sources(draw: random.Random) -> Iterator[str]:
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    while True:
        text = draw.choice(files).read_text(encoding="utf-8", errors="ignore")
        start = draw.randrange(max(1, len(text) - CHUNK))
        yield text[start : start + CHUNK]


def _topics() -> Iterator[str]:
    from pydoc_data.topics import topics

    while True:
        for text in topics.values():
            yield text[:CHUNK]


@lru_cache
def _letters() -> list[str]:
    return [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cs", "Co", "Cn")]


def _scripts(draw: random.Random) -> Iterator[str]:
    letters = _letters()
    while True:
        start = draw.randrange(len(letters))
        near = letters[start : start + draw.choice((20, 100, 1000))] + list(" ")
        yield "".join(draw.choices(near, k=CHUNK // 10))


def _hard(draw: random.Random) -> Iterator[str]:
    while True:
        few = draw.sample(HARD, draw.randint(2, len(HARD) // 2))
        yield "".join(draw.choices(few, k=CHUNK // 10))


def _files(data: Path) -> Iterator[str]:
    files = sorted(path for path in data.rglob("*") if path.is_file())
    while True:
        for path in files:
            text = path.read_text(encoding="utf-8", errors="ignore")
            yield from (text[start : start + CHUNK] for start in range(0, len(text), CHUNK))


def completeness(viability: Viability, core: Tokenizer, size: int, data: Path | None, seed: int) -> bool:
    """Read the encodings of texts id by id; says whether all were accepted."""
    vocabulary = viability.vocabulary
    count, read, asked, slowest, left_out = 0, 0, 0.0, 0.0, 0
    for text in texts(data, seed):
        if count >= size:
            break
        text = _kept(core, vocabulary, text)
        ids = core.encode(text, add_special_tokens=False).ids
        spelt = b"".join(vocabulary.piece(index) for index in ids)
        if vocabulary.kind == "wordpiece":
            left_out += (unknown := bool(set(ids) & vocabulary.special.keys()))
            if left_out > MOST_LEFT_OUT:
                print(f"  {left_out} texts have unknown tokens, such as {text[:60]!r}")
                return False
            if unknown:
                continue
        elif not (spelt.endswith(text.encode()) and len(spelt) - len(text.encode()) <= len(viability.opening)):
            left_out += 1  # the tokenizer changes this text
            if left_out > MOST_LEFT_OUT:
                print(f"  {left_out} texts are not spelt by their ids, such as {text[:60]!r}")
                return False
            continue
        state = viability.start()
        for place, index in enumerate(ids):
            started = time.perf_counter()
            allowed = viability.allowed(state)
            asked, slowest = asked + time.perf_counter() - started, max(slowest, time.perf_counter() - started)
            if not allowed[index]:
                before = [vocabulary.piece(each) for each in ids[max(0, place - 8) : place]]
                print(f"  REFUSED {vocabulary.piece(index)!r} (id {index}) after {before}, before "
                      f"{[vocabulary.piece(each) for each in ids[place + 1 : place + 4]]}; state {state}")  # fmt: skip
                return False
            state = viability.advance(state, index)
        if not viability.complete(state):
            print(f"  NOT COMPLETE: {text[-40:]!r}; state {state}")
            return False
        count, read = count + len(text.encode()), read + len(ids)
    print(f"  accepted {read:,} of {read:,} ids of {count:,} bytes ({left_out} texts left out); "
          f"{1000 * asked / max(read, 1):.3f} ms an id, at most {slowest:.2f} s")  # fmt: skip
    return True


def _kept(core: Tokenizer, vocabulary: Vocabulary, text: str) -> str:
    """What the tokenizer keeps of a text, as a text that it does not change."""
    if vocabulary.spec["model"]["type"] == "BPE":
        return core.normalizer.normalize_str(text) if core.normalizer and "NFC" in str(core.normalizer) else text
    return core.decode(core.encode(text, add_special_tokens=False).ids)  # unknown characters are left out, too


def soundness(viability: Viability, core: Tokenizer, longest: int, walks: int, seed: int) -> bool:
    """Finish accepted sequences with further ids, and compare what they spell with the tokenizer's own encoding."""
    vocabulary = viability.vocabulary
    count = 0
    for ids, state in chain(_spelling_short_strings(viability, longest), _walked(viability, walks, seed)):
        whole = _finish(viability, state)
        found = None if whole is None else [*ids, *whole]
        if found is None or not _is_encoding(core, vocabulary, viability.opening, found):
            print(f"  NO BEGINNING: {[vocabulary.piece(i) for i in ids]}, finished as "
                  f"{found and [vocabulary.piece(i) for i in found]}; state {state}")  # fmt: skip
            return False
        count += 1
    print(f"  {count:,} accepted sequences finished as encodings of their text (all that spell strings of up to {longest} "
          f"of {ALPHABET!r}, and {walks} of ids drawn at random)")  # fmt: skip
    return True


def beginnings(viability: Viability, core: Tokenizer, longest: int, further: int) -> bool:
    """The other way about: all that the encodings of all strings of up to so many characters begin with is accepted.

    Only beginnings of up to `longest` characters are asked for; the strings have up to `further` more.
    """
    special, count, letters = viability.vocabulary.special.keys(), 0, _letters_apart(core)
    seen = Known(viability.start(), -len(viability.opening))
    for size in range(1, longest + further + 1):
        strings = ("".join(each) for each in product(letters, repeat=size))
        while part := list(islice(strings, AT_ONCE)):
            count += len(part)
            for text, encoding in zip(part, core.encode_batch_fast(part, add_special_tokens=False), strict=True):
                ids = [] if special & set(encoding.ids) else encoding.ids
                if wrong := seen.refused(viability, ids, longest):
                    pieces = [viability.vocabulary.piece(index) for index in ids]
                    print(f"  REFUSED: {wrong} of {pieces}, which are {text!r}")
                    return False
    print(f"  {seen.count:,} beginnings of up to {longest} characters, of the encodings of all {count:,} strings of up to "
          f"{longest + further} of {letters!r}, are accepted")  # fmt: skip
    return True


def _letters_apart(core: Tokenizer) -> str:
    """The alphabet without letters that the normalizer makes another, as far as strings of up to 4 show."""
    if core.normalizer is None:
        return ALPHABET
    strings = ["".join(each) for size in range(1, 5) for each in product(ALPHABET, repeat=size)]
    plain = {string: core.normalizer.normalize_str(string) for string in strings}
    apart = ""
    for letter in ALPHABET:
        others = ({string: string.replace(letter, other) for string in strings} for other in apart)
        if not any(all(plain[string] == plain[other] for string, other in each.items()) for each in others):
            apart += letter
    return apart


class Known:
    """A tree of ids that were accepted one after another."""

    def __init__(self, state: Hashable, size: int) -> None:
        self.root: tuple[Hashable, int, dict] = (state, size, {})
        self.count = 0

    def refused(self, viability: Viability, ids: list[int], longest: int) -> bytes | None:
        """The piece that is refused after those before it, within so many characters; None where all are accepted."""
        node = self.root
        for index in ids:
            state, size, children = node
            if index not in children:
                piece = viability.vocabulary.piece(index)
                size += sum(byte & 0xC0 != 0x80 for byte in piece)  # characters that begin in it
                if size > longest:
                    return None
                if not viability.allowed(state)[index]:
                    return piece
                children[index] = (viability.advance(state, index), size, {})
                self.count += 1
            node = children[index]
        return None


def _spelling_short_strings(viability: Viability, longest: int) -> Iterator[tuple[list[int], Hashable]]:
    vocabulary, opening = viability.vocabulary, viability.opening
    strings = (opening + "".join(each).encode() for each in product(ALPHABET, repeat=longest))
    prefixes = {string[:size] for string in strings for size in range(1, len(string) + 1)}
    pieces = {piece[start:] for piece in prefixes for start in range(len(piece))}
    ids = [(i, vocabulary.piece(i)) for i in vocabulary.ids if i not in vocabulary.special]
    ids = [(i, piece) for i, piece in ids if piece in pieces]
    waiting: list[tuple[list[int], Hashable, bytes]] = [([], viability.start(), b"")]
    while waiting:
        read, state, spelt = waiting.pop()
        yield read, state
        allowed = viability.allowed(state)
        for index, piece in ids:
            if allowed[index] and spelt + piece in prefixes:
                waiting.append(([*read, index], viability.advance(state, index), spelt + piece))


def _walked(viability: Viability, walks: int, seed: int) -> Iterator[tuple[list[int], Hashable]]:
    vocabulary, draw = viability.vocabulary, random.Random(seed)
    ordinary = np.ones(len(vocabulary), dtype=bool)
    ordinary[list(vocabulary.special)] = False
    short = np.array([piece is not None and len(piece) <= 3 for piece in vocabulary.pieces])
    blank = np.array([piece is not None and not piece.strip() for piece in vocabulary.pieces])
    for _ in range(walks):
        ids, state = [], viability.start()
        for _ in range(draw.randint(1, 12)):
            allowed = viability.allowed(state) & ordinary
            kinds = [kind for kind in (allowed, allowed & short, allowed & blank) if kind.any()]
            if not kinds:
                break
            index = int(draw.choice(np.flatnonzero(draw.choice(kinds))))
            ids.append(index)
            state = viability.advance(state, index)
        yield ids, state


def _finish(viability: Viability, state: Hashable, most: int = 2000) -> list[int] | None:
    """Find further ids after which the sequence is complete."""
    waiting, seen = deque([(state, [])]), {state}
    ordinary = np.ones(len(viability.vocabulary), dtype=bool)
    ordinary[list(viability.vocabulary.special)] = False
    while waiting and len(seen) < most:
        state, ids = waiting.popleft()
        if viability.complete(state):
            return ids
        for index in np.flatnonzero(viability.allowed(state) & ordinary).tolist()[:most]:
            after = viability.advance(state, index)
            if viability.complete(after):
                return [*ids, index]
            if after not in seen:
                seen.add(after)
                waiting.append((after, [*ids, index]))
    return None


def _is_encoding(core: Tokenizer, vocabulary: Vocabulary, opening: bytes, ids: list[int]) -> bool:
    spelt = b"".join(vocabulary.piece(index) for index in ids)
    texts = {spelt.decode(), spelt.removeprefix(opening).decode()}
    return any(core.encode(text, add_special_tokens=False).ids == ids for text in texts)


def loaded(folder: Path) -> tuple[Viability, Tokenizer]:
    """A tokenizer and its viable sequences, whose pieces are as the model gives them."""
    vocabulary = read_vocabulary(folder)
    viability = viability_of(vocabulary)
    mark = (space_mark(vocabulary.spec) or " ").encode()
    # Gemma's runs of spaces are added tokens spelt with the mark, which stand for spaces in what the model gives.
    spelt = tuple(piece.replace(mark, b" ") if piece is not None else None for piece in vocabulary.pieces)
    viability.vocabulary = replace(vocabulary, pieces=spelt)
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    core.no_truncation()
    core.no_padding()
    return viability, core


def main() -> int:
    """Try the tokenizers named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", nargs="+", required=True, help="names of samples, or folders")
    parser.add_argument("--bytes", type=int, default=200_000, help="size of the texts")
    parser.add_argument("--data", type=Path, help="folder of further texts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soundness", type=int, default=0, metavar="N", help="finish the sequences of N characters")
    parser.add_argument("--further", type=int, default=2, help="characters behind the N of --soundness")
    parser.add_argument("--walks", type=int, default=1000, help="random sequences to finish")
    arguments = parser.parse_args()
    good = True
    for name in arguments.tokenizer:
        folder = Path(name) if Path(name).is_dir() or name not in SAMPLES else sample(name)
        started = time.perf_counter()
        viability, core = loaded(folder)
        print(
            f"{name}: {len(viability.vocabulary):,} ids; viability made in {time.perf_counter() - started:.1f} s",
            flush=True,
        )
        good &= completeness(viability, core, arguments.bytes, arguments.data, arguments.seed)
        if arguments.soundness:
            good &= soundness(viability, core, arguments.soundness, arguments.walks, arguments.seed)
            good &= beginnings(viability, core, arguments.soundness, arguments.further)
    return not good


if __name__ == "__main__":
    sys.exit(main())
