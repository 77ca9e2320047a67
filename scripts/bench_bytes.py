"""Speed of ByteTokenizer beside transformers' ByT5Tokenizer, in one run on one core.

    python scripts/bench_bytes.py            # the standard library's sources, 8 MB

MB are 1e6 UTF-8 bytes, seconds processor time, each figure the best of five. ByT5 is timed on the first 0.4 MB. Ids and
texts are checked against ByT5's, whose ids are ours plus 3, on all documents but those that spell a marker (`<s>` is one
of ours alone). The exit code is 1 where they differ or a figure is below its goal.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from library import library_sources
from transformers import ByT5Tokenizer

from hf_tokext import ByteTokenizer

DOCUMENT, FEW, BYT5_OFFSET = 4_000, 100, 3
GOALS = {
    "padded tensors": 20,
    "array path (encode_bytes)": 75,
    "lists": 0.35,
    "batch_decode of lists": 50,
    "decode_arrays": 50,
}


def rate(work: Callable[[], object], documents: list[str]) -> float:
    """MB a second."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return sum(len(document.encode()) for document in documents) / 1e6 / best


def differences(ours: ByteTokenizer, byt5: ByT5Tokenizer, documents: list[str]) -> list[str]:
    """Ways in which ids or texts are not as they should be."""
    theirs = [[i - BYT5_OFFSET for i in row] for row in byt5(documents, add_special_tokens=False).input_ids]
    plain = ours(documents, add_special_tokens=False)
    padded = ours(documents, add_special_tokens=False, padding=True, return_tensors="pt")
    flat, starts = ours.encode_bytes(documents)
    checks = {
        "lists": plain.input_ids == theirs,
        "padded tensors": [
            row[kept].tolist()
            for row, kept in zip(padded.input_ids, padded.attention_mask.bool(), strict=True)
        ] == theirs,
        "array path (encode_bytes)": [part.tolist() for part in np.split(flat, starts[1:-1])] == theirs,
        "batch_decode of lists": ours.batch_decode(ours(documents).input_ids, skip_special_tokens=True) == documents,
        "decode_arrays": ours.decode_arrays(flat, starts) == documents,
    }  # fmt: skip
    return [what for what, right in checks.items() if not right]


def figures(ours: ByteTokenizer, byt5: ByT5Tokenizer, documents: list[str]) -> dict[str, tuple[float, str, float]]:
    """MB a second of ours, and of what it is compared with."""
    few, padded = documents[:FEW], {"padding": True, "return_tensors": "pt"}
    encoded = rate(lambda: byt5(few, **padded), few)
    few_ids, ids, (flat, starts) = byt5(few).input_ids, ours(documents).input_ids, ours.encode_bytes(documents)
    decoded = rate(lambda: byt5.batch_decode(few_ids, skip_special_tokens=True), few)
    plain = rate(lambda: [list(document.encode()) for document in documents], documents)
    works = {
        "padded tensors": (lambda: ours(documents, **padded), "ByT5", encoded),
        "array path (encode_bytes)": (lambda: ours.encode_bytes(documents), "ByT5", encoded),
        "lists": (lambda: ours(documents), "list(s.encode())", plain),
        "batch_decode of lists": (lambda: ours.batch_decode(ids, skip_special_tokens=True), "ByT5", decoded),
        "decode_arrays": (lambda: ours.decode_arrays(flat, starts), "ByT5", decoded),
    }
    return {what: (rate(work, documents), other, theirs) for what, (work, other, theirs) in works.items()}


def main() -> None:
    """Check the ids and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=8_000_000, help="how much of the sources to take")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = "".join(library_sources([]))[: options.characters]
    documents = [text[start : start + DOCUMENT] for start in range(0, len(text), DOCUMENT)]
    ours, byt5 = ByteTokenizer(), ByT5Tokenizer()
    markers = {*ours.all_special_tokens, *byt5.all_special_tokens}
    documents = [document for document in documents if not any(marker in document for marker in markers)]
    wrong = differences(ours, byt5, documents)
    print(f"as ByT5 has it on {len(documents):,} documents: {f'not {wrong}' if wrong else 'all'}", flush=True)
    slow = []
    for what, (mine, other, theirs) in figures(ours, byt5, documents).items():
        ratio, goal = mine / theirs, GOALS[what]
        slow += [what] * (ratio < goal)
        verdict = "BELOW the goal of" if ratio < goal else "goal"
        print(f"{what:28} {mine:8.1f} MB/s   {other:16} {theirs:7.2f} MB/s   {ratio:8.2f} x ({verdict} {goal})")
    raise SystemExit(bool(wrong or slow))


if __name__ == "__main__":
    main()
