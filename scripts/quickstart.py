"""The main job from end to end; see quickstart.sh.

Text: the Python standard library's own sources. From the modules measured on nothing is learnt: neither the tokenizer,
nor the calibration of its rows, nor the healing sees them.
"""

import json
import random
import sys
from pathlib import Path

import torch
from library import library_source, library_sources
from samples import sample
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import bits_per_byte, transplant_checkpoint
from hf_tokext.cli.transplant import StageBars
from hf_tokext.hub import write_card
from hf_tokext.measure.plots import plot_before_after
from hf_tokext.training import heal_checkpoint
from hf_tokext.training.checkpoint import PLOT

HELD_OUT = ("textwrap.py", "shlex.py", "bisect.py", "fnmatch.py")
VOCABULARY = 24_576
BYTES_MEASURED = 4_000
EXCERPT = 2_000
STEPS = 36
TOKENS_PER_STEP = 512


def sources() -> tuple[list[str], list[str]]:
    """Sources to learn from, and excerpts of other modules to measure on."""
    return library_sources(HELD_OUT), [library_source(name)[:BYTES_MEASURED] for name in HELD_OUT]


def excerpts(texts: list[str], count: int, seed: int) -> list[str]:
    """The beginnings of some texts."""
    chosen = random.Random(seed).sample([text for text in texts if len(text) > EXCERPT], count)
    return [text[:EXCERPT] for text in chosen]


def measured(folder: Path, texts: list[str]):
    """Bits per byte of a checkpoint, loaded with stock transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with tqdm(desc=f"measuring {folder.name}", file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return bits_per_byte(model, AutoTokenizer.from_pretrained(folder), texts, progress=show)


def main() -> None:
    """Run every step and say what came of it."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    base = sample("smollm2-135m")
    learn, held_out = sources()
    print(f"1. training a tokenizer of {VOCABULARY:,} ids on {sum(map(len, learn)) / 1e6:.1f} MB of Python, "
          "and putting it on SmolLM2-135M")  # fmt: skip
    new = out / "smollm2-python"
    bars = StageBars()
    report = transplant_checkpoint(
        base, None, new, train_on=learn, vocab_size=VOCABULARY, texts=excerpts(learn, 8, seed=1), dtype=torch.float32,
        overwrite=True, progress=bars,
    )  # fmt: skip
    bars.close()
    print(report.to_markdown())
    print("2. measuring on modules that nothing was learnt from")
    before, after = measured(base, held_out), measured(new, held_out)
    print(f"3. healing: {STEPS} steps of {TOKENS_PER_STEP} tokens, all weights")
    healed, heal_report = heal_checkpoint(
        new, excerpts(learn, 2 * STEPS, seed=0), out / "smollm2-python-healed", steps=STEPS, train="all",
        tokens_per_step=TOKENS_PER_STEP, window=256, learning_rate=1e-4, overwrite=True, eval_texts=held_out, eval_every=STEPS // 2,
    )  # fmt: skip
    final = measured(healed, held_out)
    rows = {"untouched": before, "transplanted": after, "healed": final}
    figures = {name: m.bits_per_byte for name, m in rows.items()}
    plot_before_after(out / "bits.png", {"held-out Python": figures}, "bits per byte")
    folders = dict(zip((base, new, healed), rows.values(), strict=True))
    bits = [{"model": str(folder), **m.to_dict()} for folder, m in folders.items()]  # as `tokext measure bits --json`
    (out / "bits.json").write_text(json.dumps(bits, indent=1))
    card = write_card(healed, bits=out / "bits.json", overwrite=True)
    print("\nmodel          bits/byte   tokens/byte")
    for name, m in rows.items():
        print(f"{name:<14} {m.bits_per_byte:9.3f} {m.tokens_per_byte:13.4f}")
    fewer = 1 - after.tokens_per_byte / before.tokens_per_byte
    lost, left = (m.bits_per_byte / before.bits_per_byte - 1 for m in (after, final))
    print(f"\nGained: Python takes {fewer:.0%} fewer tokens, so the same context holds {1 / (1 - fewer) - 1:.0%} more of it."
          f"\nLost: {lost:.0%} more bits per byte at once; {left:+.0%} after seeing {heal_report.tokens_seen:,} tokens. "
          f"More healing text buys more back; {healed / PLOT} shows how it comes."
          f"\nThe checkpoint {healed} is an ordinary one: AutoModelForCausalLM.from_pretrained({str(healed)!r})."
          f"\nIts model card, with these figures: {card}")  # fmt: skip


if __name__ == "__main__":
    main()
