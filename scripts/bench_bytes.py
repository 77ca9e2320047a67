"""Speed of ByteTokenizer beside transformers' ByT5Tokenizer, in one run on one core.

    python scripts/bench_bytes.py            # the standard library's sources, 8 MB

MB are 1e6 UTF-8 bytes, seconds processor time, each figure the best of five. ByT5 is timed on the first 0.4 MB. Ids are
checked against the stock class that reads the same tokenizer.json.
"""

import tempfile
import time
from collections.abc import Callable

import torch
from library import library_sources
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from hf_tokext import ByteTokenizer

SIZE, DOCUMENT, FEW = 8_000_000, 4_000, 100


def rate(work: Callable[[], object], documents: list[str]) -> float:
    """MB a second."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return sum(len(document.encode()) for document in documents) / 1e6 / best


def line(what: str, ours: float, other: str, theirs: float, goal: float) -> None:
    """Print one comparison."""
    print(f"{what:34} {ours:8.1f} MB/s   {other} {theirs:7.2f} MB/s   {ours / theirs:8.2f} x (goal {goal})", flush=True)


def main() -> None:
    """Check the ids and print the table."""
    torch.set_num_threads(1)
    text = "".join(library_sources([]))[:SIZE]
    documents = [text[start : start + DOCUMENT] for start in range(0, len(text), DOCUMENT)]
    few = documents[:FEW]
    ours, byt5 = ByteTokenizer(), ByT5Tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        ours.save_pretrained(folder)
        stock = PreTrainedTokenizerFast.from_pretrained(folder)
    same = ours(documents).input_ids == stock(documents).input_ids
    print(f"ids equal to the stock class's on {len(documents):,} documents: {same}")
    padded = {"padding": True, "return_tensors": "pt"}
    theirs = rate(lambda: byt5(few, **padded), few)
    line("padded tensors", rate(lambda: ours(documents, **padded), documents), "ByT5", theirs, 20)
    line("array path (encode_bytes)", rate(lambda: ours.encode_bytes(documents), documents), "ByT5", theirs, 75)
    plain = rate(lambda: [list(document.encode()) for document in documents], documents)
    line("lists", rate(lambda: ours(documents), documents), "list(s.encode())", plain, 0.35)
    few_ids, ids = byt5(few).input_ids, ours(documents).input_ids
    theirs = rate(lambda: byt5.batch_decode(few_ids, skip_special_tokens=True), few)
    line(
        "batch_decode of lists",
        rate(lambda: ours.batch_decode(ids, skip_special_tokens=True), documents),
        "ByT5",
        theirs,
        50,
    )
    flat, starts = ours.encode_bytes(documents)
    line("decode_arrays", rate(lambda: ours.decode_arrays(flat, starts), documents), "ByT5", theirs, 50)
    raise SystemExit(not same)


if __name__ == "__main__":
    main()
