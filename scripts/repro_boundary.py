"""Does it matter where a prompt ends? Completion of code lines cut at seeded places, by four ways of prompting.

    python scripts/repro_boundary.py                    # 200 cuts, SmolLM2-135M; resumable, about an hour on one core
    python scripts/repro_boundary.py --cuts 10          # a look

Lines are cut in functions of the standard library, half of them inside a token of the tokenizer's own spelling and half
between two. The prompt is up to 400 bytes of the source before the cut; what is wanted is the rest of the line, written
greedily. `plain` encodes the prompt and generates; `token healing` is transformers' own (`token_healing=True`);
`boundary` and `bytes` are the modes of hf_tokext.complete. An answer counts if the line is equal to its end. Bits per
byte are those of the wanted rest behind the prompt: of its own spelling after the prompt's for `plain`, canonical ones
of the byte view for both of ours; healing has none. Intervals are 95 % of 2,000 bootstrap samples of the cuts.
"""

import argparse
import ast
import json
import math
import random
from pathlib import Path

import numpy as np
import torch
from library import library_sources
from samples import sample
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import byteify, complete, score_bytes

CONTEXT = 400
LONGEST = 60  # bytes of a wanted rest
FAILED = "\0"  # no line
WAYS = ("plain", "token healing", "boundary", "bytes")


def cuts(tokenizer, count: int) -> list[tuple[str, str, bool]]:
    """Prompt, wanted rest of the line, and whether the cut is inside a token."""
    chance = random.Random(0)
    sources = library_sources(["__init__.py"], "*.py")
    found: dict[bool, list[tuple[str, str, bool]]] = {True: [], False: []}
    while min(map(len, found.values())) < count // 2:
        source = chance.choice(sources)
        if not source.isascii():
            continue
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        if not functions:
            continue
        function = chance.choice(functions)
        lines = source.splitlines(keepends=True)
        number = chance.randrange(function.body[0].lineno - 1, function.end_lineno or function.lineno)
        line = lines[number]
        if len(line.strip()) < 12 or line.strip().startswith(("#", '"')):
            continue
        start = sum(map(len, lines[:number]))
        first = len(line) - len(line.lstrip())
        at = start + chance.randrange(first + 4, len(line) - 4)
        prompt, rest = source[max(at - CONTEXT, 0) : at], source[at : start + len(line)].rstrip("\n")
        if len(rest) > LONGEST or not rest.strip():
            continue
        window = source[max(at - CONTEXT, 0) : start + len(line)]
        ends = {end for _, end in tokenizer(window, return_offsets_mapping=True).offset_mapping}
        inside = len(prompt) not in ends
        if len(found[inside]) < count // 2:
            found[inside].append((prompt, rest, inside))
    return [each for pair in zip(found[True], found[False], strict=True) for each in pair]


def answer(way: str, model, byte_model, tokenizer, prompt: str, rest: str) -> str:
    """What a way of prompting writes, to the end of the line."""
    size = len(tokenizer(rest).input_ids) + 8
    if way in ("boundary", "bytes"):
        room = len(rest) + 8 if way == "bytes" else size
        (found,) = complete(byte_model, prompt, mode=way, max_new_tokens=room, do_sample=False)
        text = found.decode(errors="replace")
    else:
        given = tokenizer(prompt, return_tensors="pt")
        more = {"token_healing": True, "tokenizer": tokenizer} if way == "token healing" else {}
        try:
            ids = model.generate(**given, max_new_tokens=size, do_sample=False, pad_token_id=0, **more)[0]
        except KeyError:  # transformers' healing fails where no token begins with the last one's text
            if way == "token healing":
                return FAILED
            raise
        whole = tokenizer.decode(ids, skip_special_tokens=True)
        text = whole[len(prompt) :] if whole.startswith(prompt) else ""  # healing may write the prompt's end anew
    return text.partition("\n")[0]


def bits(way: str, model, byte_model, tokenizer, prompt: str, rest: str) -> float:
    """Bits of the wanted rest and the end of its line, behind the prompt."""
    rest += "\n"
    if way == "plain":
        before = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False).input_ids]
        after = tokenizer(rest, add_special_tokens=False).input_ids
        return token_bits(model, before, after)
    (score,) = score_bytes(byte_model, prompt + rest)
    return -float(score.log_probabilities[-len(rest) :].sum()) / math.log(2)


def token_bits(model, before: list[int], after: list[int]) -> float:
    """Bits of ids behind others."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*before, *after]])).logits[0, len(before) - 1 : -1]
    return -float(logits.log_softmax(-1).gather(-1, torch.tensor(after)[:, None]).sum()) / math.log(2)


def loaded(name: str):
    """Model, byte model and tokenizer of a sample."""
    torch.set_num_threads(1)
    folder = sample(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, byteify(model, tokenizer, "canonical")[0], tokenizer


def interval(values: np.ndarray) -> str:
    """Mean and its bootstrap interval."""
    chance = np.random.default_rng(0)
    means = chance.choice(values, (2_000, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    """Complete every cut in every way, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--model", default="smollm2-135m", help="a sample's name")
    parser.add_argument("--results", type=Path, default=Path("repro_boundary.json"))
    options = parser.parse_args()
    model, byte_model, tokenizer = loaded(options.model)
    known = json.loads(options.results.read_text()) if options.results.is_file() else {}
    rows = []
    for number, (prompt, rest, inside) in enumerate(cuts(tokenizer, options.cuts)):
        key = f"{options.model} | {number} | {len(prompt)} | {rest}"
        if key not in known:
            found = {way: answer(way, model, byte_model, tokenizer, prompt, rest) for way in WAYS}
            size = len(rest) + 1
            told = {way: bits(way, model, byte_model, tokenizer, prompt, rest) / size for way in ("plain", "boundary")}
            known[key] = {"inside": inside, "answers": found, "bits": told}
            options.results.write_text(json.dumps(known, indent=1))
            print(number, inside, repr(rest), {way: text == rest for way, text in found.items()}, flush=True)
        rows.append((rest, known[key]))
    for inside, name in ((True, "inside a token"), (False, "between tokens")):
        part = [(rest, row) for rest, row in rows if row["inside"] is inside]
        print(f"\n{len(part)} cuts {name}: exact lines, and bits per byte")
        for way in WAYS:
            exact = np.array([float(row["answers"][way] == rest) for rest, row in part])
            told = [row["bits"].get("boundary" if way == "bytes" else way) for _, row in part]
            scored = interval(np.array(told)) if told[0] is not None else ""
            failed = sum(row["answers"][way] == FAILED for _, row in part)
            print(f"  {way:14} {interval(exact):26} {scored}" + (f" ({failed} crashed)" if failed else ""))


if __name__ == "__main__":
    main()
