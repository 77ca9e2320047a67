"""Cost and agreement of the byte view of a causal LM, beside plain tokens and genlm-bytes 0.2, in one run.

    python scripts/bench_byteify.py --genlm-python PYTHON         # 2,000 bytes on SmolLM2-135M: an hour and a half
    python scripts/bench_byteify.py --bytes 300 --model stories15m # a look, without the rival
    python scripts/bench_byteify.py --device cuda                  # wall seconds; --dtype bfloat16 if you like

Two texts a model: one that the model itself wrote (what generation meets; drawn at temperature 1) and Python's
reference. Each is read on behind a prompt of 40 bytes, byte by byte as generation does: `plain` runs the tokens of the
text one by one with their cache. `at once` scores the text as known, beside byte by byte of the same measure; `sum` is
that of all bytes without the single ones. Bits per byte are sums of the normalised log probabilities of the bytes, those of `plain` of one spelling only. Seconds are
processor and wall time; passes are calls of the model. The floor is one pass a token. genlm-bytes runs in an environment
of its own (torch 2.13.0, genlm-bytes 0.2.0). The exit code is 1 where a figure is below its goal.
"""

import argparse
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data import topics

import torch
from samples import sample
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.models.byte_level.base_tokens import BaseTokens
from hf_tokext.models.byte_level.byte_view import ByteView

WARM = 40  # bytes of the prompt
ROOM = 0.75  # of the context
OURS = (("all_strings", 1e-2), ("all_strings", 1e-3), ("canonical", 1e-3))
RIVAL = ("5:0.05", "10:0.01", "20:0.001")
GOALS = {"passes": 1.6, "speed": 0.45, "at once": 10.0, "genlm": 5.0, "agree": 0.01}


class Timed:
    """Processor and wall seconds of a block, and what it is divided by."""

    def __init__(self, work: Callable[[], float]) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        self.result = work()
        self.cpu, self.wall = time.process_time() - cpu, time.perf_counter() - wall
        alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()
        self.seconds = self.cpu if alone else self.wall


def texts(model, tokenizer, size: int) -> dict[str, bytes]:
    """One text by the model, one that it has not written; no longer than the model's context."""
    prose = "\n\n".join(topics.topics[key] for key in sorted(topics.topics)[1:]).encode()
    prompt = prose[:WARM].decode()
    ids = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
    torch.manual_seed(0)
    written = b""
    while len(written) < WARM + size:  # it may end early
        most = min(size // 3, model.config.max_position_embeddings - ids.shape[1])
        found = model.generate(ids, max_new_tokens=most, do_sample=True, top_k=0, pad_token_id=0)
        more = tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
        written = (written or prompt.encode()) + more.encode()
    return {
        kind: fitting(model, tokenizer, text[: WARM + size])
        for kind, text in {"written by the model": written, "Python's reference": prose}.items()
    }


def fitting(model, tokenizer, text: bytes) -> bytes:
    """The beginning of a text that fits into the context, with room for spellings of more tokens."""
    ends = BaseTokens(tokenizer).spell(text)
    room = int(ROOM * model.config.max_position_embeddings)
    return text if len(ends) <= room else text[: ends[room - 1][1]]


def plain(model, ids: list[int], warm: list[int]) -> float:
    """Nats of ids, run one by one."""
    with torch.inference_mode():
        outputs = model(torch.tensor([warm], device=model.device), use_cache=True)
        nats = 0.0
        for index in ids:
            nats -= float(outputs.logits[0, -1].float().log_softmax(-1)[index])
            index_there = torch.tensor([[index]], device=model.device)
            outputs = model(index_there, past_key_values=outputs.past_key_values, use_cache=True)
    return nats


def stepped(view: ByteView, text: bytes) -> tuple[Timed, int, float]:
    """Nats of a text read byte by byte behind its prompt, passes, and what was dropped."""
    (covers,) = view.texts(1)
    view.read([covers], [text[:WARM]])
    before, lost = view.runner.forwards, 0.0

    def work() -> float:
        nonlocal lost
        nats = 0.0
        for byte in text[WARM:]:
            (reading,) = view.read([covers], [[byte]])
            nats -= float(reading.log_probabilities[0])
            lost += float(reading.dropped[0])
        return nats

    return Timed(work), view.runner.forwards - before, lost


def scored(view: ByteView, text: bytes, whole: bool) -> float:
    """Nats of a text behind its prompt, both known; `whole` asks for no single byte's."""
    (reading,) = view.read(view.texts(1), [text], whole=whole)
    if not whole:
        return -float(reading.log_probabilities[WARM:].sum())
    (prompt,) = view.read(view.texts(1), [text[:WARM]], whole=True)
    return float(prompt.log_probabilities.sum() - reading.log_probabilities.sum())


def line(name: str, timed: Timed, passes: int, size: int, more: str = "") -> None:
    """Print one row."""
    bits = timed.result / size / math.log(2)
    print(f"  {name:26} {bits:8.4f} {timed.cpu:9.1f} {timed.wall:9.1f} {passes:8,}  {more}", flush=True)


def rival(python: str, folder: Path, text: bytes) -> list[dict[str, float]]:
    """Figures of genlm-bytes, each setting in a process of its own; those that fail are named."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "text"
        file.write_bytes(text)
        for setting in RIVAL:
            command = [
                python,
                str(Path(__file__).with_name("genlm_scores.py")),
                str(folder),
                str(file),
                str(WARM),
                setting,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            if done.returncode or not lines:
                print(f"  genlm-bytes {setting} failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
            found += map(json.loads, lines)
    return found


def main() -> None:
    """Measure every model on every text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a sample's name; default smollm2-135m")
    parser.add_argument("--bytes", type=int, default=2_000)
    parser.add_argument("--threads", type=int, default=1, help="of torch; ratios are of wall seconds where more than 1")
    parser.add_argument("--device", default="cpu", help="ratios are of wall seconds where it is another")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--genlm-python", help="Python of an environment with genlm-bytes 0.2.0")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    missed = []
    for name in options.model or ["smollm2-135m"]:
        folder = sample(name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=options.dtype, device_map=options.device).eval()
        for kind, text in texts(model, tokenizer, options.bytes).items():
            missed += measured(name, folder, model, tokenizer, kind, text, options.genlm_python)
    if missed:
        raise SystemExit("below their goals: " + "; ".join(missed))


def measured(name: str, folder: Path, model, tokenizer, kind: str, text: bytes, python: str | None) -> list[str]:
    """Print the rows of one text; returns the goals that are missed."""
    size, missed = len(text) - WARM, []
    print(f"\n{name}, {size:,} bytes of {kind}")
    print(f"  {'':26} {'bits/byte':>8} {'cpu s':>9} {'wall s':>9} {'passes':>8}")
    view = ByteView(model, tokenizer)
    spelling = view.base.spell(text)
    known = max(at for at, (_, end) in enumerate(spelling, 1) if end <= WARM)
    warm, ids = [[index for index, _ in part] for part in (spelling[:known], spelling[known:])]
    tokens = Timed(lambda: plain(model, ids, [*view.base.opening_ids, *warm]))
    size_of_tokens = spelling[-1][1] - spelling[known - 1][1]
    if spelling[-1][1] < len(text):
        print(f"  (plain tokens spell {spelling[-1][1]:,} bytes of it only)")
    line("plain tokens", tokens, len(ids), size_of_tokens, f"{len(ids) / size_of_tokens:.3f} tokens a byte, the floor")
    steps = {}
    for measure, tolerance in OURS:
        view = ByteView(model, tokenizer, measure, tolerance, runner=type(view.runner)(model))
        found, passes, lost = stepped(view, text)
        ratios = {"passes": passes / len(ids), "speed": tokens.seconds / found.seconds}
        told = f"{ratios['passes']:.2f} x the passes, {ratios['speed']:.2f} of the speed, {lost:.3f} dropped"
        line(f"{measure}, {tolerance:g}", found, passes, size, told)
        if tolerance == 1e-3:
            steps[measure] = found
            missed += [
                f"{name}, {kind}, {measure}: {what}"
                for what in ratios
                if (ratios[what] > GOALS[what] if what == "passes" else ratios[what] < GOALS[what])
            ]
    exact = steps["all_strings"]
    for measure, step in steps.items():
        ratios = {}
        for whole in (False, True):
            view = ByteView(model, tokenizer, measure, tolerance=1e-3, runner=type(view.runner)(model))
            at_once = Timed(lambda view=view, whole=whole: scored(view, text, whole))
            ratios[whole] = step.seconds / at_once.seconds
            told = f"{ratios[whole]:.1f} x as fast as byte by byte"
            name_of_row = f"at once, {measure}" + ", sum" * whole
            line(name_of_row, at_once, view.runner.forwards, size, told)
            if measure == "all_strings":
                break  # all of its sequences count to the end
        missed += [f"{name}, {kind}: at once, {measure}"] * (max(ratios.values()) < GOALS["at once"])
    for other in rival(python, folder, text) if python else []:
        ratio = other["cpu"] / exact.cpu
        gap = other["bits"] - exact.result / size / math.log(2)
        print(
            f"  genlm-bytes {other['setting']:14} {other['bits']:8.4f} {other['cpu']:9.1f} {other['wall']:9.1f} "
            f"{other['passes']:8,}  {ratio:.1f} x our seconds at 0.001, {gap:+.4f} bits",
            flush=True,
        )
        missed += [f"{name}, {kind}: genlm {other['setting']}"] * (
            abs(gap) <= GOALS["agree"] and ratio < GOALS["genlm"]
        )
    return missed


if __name__ == "__main__":
    main()
