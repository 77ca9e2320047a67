"""Do seams inside tokens matter when a model fills in the middle? Pieces cut out of code lines, by four ways of asking.

    python scripts/repro_infilling.py              # 24 cuts, Qwen2.5-Coder 1.5B (1.1 GB fetched once); resumable, hours
    python scripts/repro_infilling.py --cuts 4     # a look

A middle of 6 to 30 bytes is cut out of a line of a function of the standard library; both of its ends lie inside a token
of the tokenizer's own spelling of the whole. The model is given up to 160 bytes before and behind it. `no suffix` is
what plain prompting without the suffix writes (as many bytes as the middle has, the trivial baseline); `plain` encodes
prefix and suffix each by itself between the markers; `boundary` and `bytes` are hf_tokext.complete. All are greedy, and
an answer counts if it is equal to the middle. Bits per byte are those of the middle: of its own spelling for `plain`,
canonical ones of the byte view for ours. Intervals are 95 % of 2,000 bootstrap samples of the cuts.
"""

import argparse
import ast
import json
import math
import random
from pathlib import Path

import numpy as np
from library import library_sources
from repro_boundary import interval, loaded, token_bits

from hf_tokext import complete
from hf_tokext.models.byte_level.infilling import infilling_events

CONTEXT = 160
WAYS = ("no suffix", "plain", "boundary", "bytes")
MARKERS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")


def cuts(tokenizer, count: int) -> list[tuple[str, str, str]]:
    """Prefix, middle, suffix; both seams inside a token."""
    chance = random.Random(0)
    sources = [source for source in library_sources(["__init__.py"], "*.py") if source.isascii()]
    found: list[tuple[str, str, str]] = []
    while len(found) < count:
        source = chance.choice(sources)
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        if not functions:
            continue
        function = chance.choice(functions)
        lines = source.splitlines(keepends=True)
        number = chance.randrange(function.body[0].lineno - 1, function.end_lineno or function.lineno)
        line, start = lines[number], sum(map(len, lines[:number]))
        first = len(line) - len(line.lstrip())
        if len(line.strip()) < 20 or line.strip().startswith(("#", '"')):
            continue
        at = chance.randrange(first + 2, len(line) - 10)
        stop = chance.randrange(at + 6, min(at + 31, len(line) - 1))
        low = max(start + at - CONTEXT, 0)
        window = source[low : start + stop + CONTEXT]
        ends = {end for _, end in tokenizer(window, return_offsets_mapping=True).offset_mapping}
        left, right = start + at - low, start + stop - low
        if left not in ends and right not in ends:
            found.append((window[:left], window[left:right], window[right:]))
    return found


def answer(way: str, model, byte_model, tokenizer, prefix: str, middle: str, suffix: str) -> str:
    """What a way of asking writes."""
    size = len(tokenizer(middle).input_ids) + 8
    if way in ("boundary", "bytes"):
        room = len(middle) + 8 if way == "bytes" else size
        (found,) = complete(byte_model, prefix, suffixes=suffix, mode=way, max_new_tokens=room, do_sample=False)
        return found.decode(errors="replace")
    text = prefix if way == "no suffix" else MARKERS[0] + prefix + MARKERS[1] + suffix + MARKERS[2]
    given = tokenizer(text, return_tensors="pt")
    ids = model.generate(**given, max_new_tokens=size, do_sample=False, pad_token_id=0)[0, given.input_ids.shape[1] :]
    written = tokenizer.decode(ids, skip_special_tokens=True)
    return written[: len(middle)] if way == "no suffix" else written


def bits(way: str, model, byte_model, tokenizer, prefix: str, middle: str, suffix: str) -> float:
    """Bits of the middle between prefix and suffix."""
    if way == "plain":
        before = tokenizer(MARKERS[0] + prefix + MARKERS[1] + suffix + MARKERS[2], add_special_tokens=False).input_ids
        after = tokenizer(middle, add_special_tokens=False).input_ids
        return token_bits(model, before, after)
    view = byte_model.view
    events = infilling_events(view.base, list(prefix.encode()), list(suffix.encode()), "prefix_suffix_middle")
    covers = view.texts(1)
    view.read(covers, [events])
    (reading,) = view.read(covers, [list(middle.encode())])
    return -float(reading.log_probabilities.sum()) / math.log(2)


def main() -> None:
    """Fill in every middle in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=24)
    parser.add_argument("--model", default="qwen2.5-coder-1.5b", help="a sample's name")
    parser.add_argument("--results", type=Path, default=Path("repro_infilling.json"))
    options = parser.parse_args()
    model, byte_model, tokenizer = loaded(options.model)
    known = json.loads(options.results.read_text()) if options.results.is_file() else {}
    rows = []
    for number, cut in enumerate(cuts(tokenizer, options.cuts)):
        key = f"{options.model} | {number} | {cut[1]}"
        if key not in known:
            found = {way: answer(way, model, byte_model, tokenizer, *cut) for way in WAYS}
            size = len(cut[1])
            told = {way: bits(way, model, byte_model, tokenizer, *cut) / size for way in ("plain", "bytes")}
            known[key] = {"middle": cut[1], "answers": found, "bits": told}
            options.results.write_text(json.dumps(known, indent=1))
            print(number, repr(cut[1]), found, told, flush=True)
        rows.append(known[key])
    print(f"\n{len(rows)} middles: exact ones, and bits per byte")
    for way in WAYS:
        exact = np.array([float(row["answers"][way] == row["middle"]) for row in rows])
        told = [row["bits"].get("bytes" if way in ("boundary", "bytes") else way) for row in rows]
        print(f"  {way:10} {interval(exact):26} {interval(np.array(told)) if told[0] is not None else ''}")


if __name__ == "__main__":
    main()
