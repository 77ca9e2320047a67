"""Train a small language model on your icons from nothing, let it draw, and look at what it drew.

    python scripts/examples/svg/svg_icons.py FOLDER --output icons --steps 300
    python scripts/examples/svg/svg_icons.py --toy --output icons

FOLDER is searched for .svg files. The model's vocabulary is that of `SVGTokenizer` on a grid alone; `Trainer` trains it, and
what it draws is kept well-formed by the grammar. The output folder gets the model, samples as .svg, and icons.png: eight icons, the same
icons read and written on the grid below them, and samples in the last row. Needs resvg-py, pillow and tinycss2.
"""

import argparse
import io
import random
from pathlib import Path

import resvg_py
import torch
from datasets import Dataset
from PIL import Image
from transformers import (
    DataCollatorForLanguageModeling,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hf_tokext import GrammarLogitsProcessor, SVGTokenizer
from hf_tokext.errors import TextError

PIXELS, COLUMNS = 96, 8
TOY = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M{x} {y}h{size}v{size}h-{size}z" fill="{color}"/></svg>'
    for x in range(1, 7) for y in range(1, 7) for size in (4, 8) for color in ("red", "teal", "black")
]  # fmt: skip


def picture(drawing: str) -> Image.Image | None:
    """A drawing on white, or None where it cannot be drawn."""
    try:
        png = resvg_py.svg_to_bytes(svg_string=drawing, width=PIXELS, height=PIXELS)
        found = Image.open(io.BytesIO(bytes(png))).convert("RGBA").resize((PIXELS, PIXELS))
    except Exception:  # whatever the renderer raises
        return None
    white = Image.new("RGBA", found.size, "white")
    white.alpha_composite(found)
    return white.convert("RGB")


def sheet(rows: list[list[Image.Image | None]]) -> Image.Image:
    """Rows of pictures; what could not be drawn is grey."""
    gap = PIXELS + 8
    found = Image.new("RGB", (COLUMNS * gap + 8, len(rows) * gap + 8), "lightblue")
    for down, row in enumerate(rows):
        for across, each in enumerate(row[:COLUMNS]):
            found.paste(each or Image.new("RGB", (PIXELS, PIXELS), "grey"), (across * gap + 8, down * gap + 8))
    return found


def main() -> None:
    """Train, draw, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--toy", action="store_true", help="squares instead of a folder, and 30 steps")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--length", type=int, default=256, help="tokens of a drawing at most; longer ones are left out")
    parser.add_argument("--samples", type=int, default=16)
    options = parser.parse_args()
    set_seed(0)
    if options.toy:
        texts, options.steps = TOY, min(options.steps, 30)
    elif options.folder:
        paths = sorted(path for path in options.folder.rglob("*.svg") if path.is_file() and not path.is_symlink())
        texts = [path.read_text(encoding="utf-8") for path in paths]
    else:
        parser.error("give a folder of .svg files, or --toy")
    tokenizer = SVGTokenizer(domain_settings={"mode": "quantised", "grid": 128})
    kept, rows = [], []
    for text in texts:
        try:
            ids = tokenizer(text).input_ids
        except TextError:
            continue
        if len(ids) <= options.length:
            kept.append((text, ids))
            rows.append({"input_ids": ids})
    print(f"{len(kept)} of {len(texts)} drawings have at most {options.length} tokens; {len(tokenizer)} ids")
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=options.length,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
    )
    arguments = TrainingArguments(
        str(options.output), max_steps=options.steps, per_device_train_batch_size=8, learning_rate=2e-3, warmup_steps=20,
        lr_scheduler_type="cosine", logging_steps=max(options.steps // 6, 1), report_to="none", save_strategy="no",
        disable_tqdm=True,
    )  # fmt: skip
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    Trainer(model, arguments, data_collator=collator, train_dataset=Dataset.from_list(rows)).train()
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)

    grammar = GrammarLogitsProcessor(
        [(tokenizer.domain, 0)], options.length, only="svg", eos_token_id=tokenizer.pad_token_id
    )
    prompt = torch.full((options.samples, 1), tokenizer.bos_token_id, device=model.device)
    drawn = model.eval().generate(
        prompt, do_sample=True, temperature=0.7, max_length=options.length, logits_processor=[grammar],
        eos_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    samples = tokenizer.batch_decode(drawn)
    for number, sample in enumerate(samples):
        tokenizer(sample)  # raises where it is malformed
        (options.output / f"sample_{number:02}.svg").write_text(sample, encoding="utf-8")
    pictures = [picture(sample) for sample in samples]
    blank = Image.new("RGB", (PIXELS, PIXELS), "white").tobytes()
    seen = [each for each in pictures if each is not None and each.tobytes() != blank]
    print(f"{len(samples)} samples, all well-formed; {len(seen)} of them show something")
    chosen = random.Random(3).sample(kept, min(COLUMNS, len(kept)))
    shown = [
        [picture(text) for text, _ in chosen], [picture(tokenizer.decode(ids)) for _, ids in chosen], seen[:COLUMNS], seen[COLUMNS:]
    ]  # fmt: skip
    sheet(shown).save(options.output / "icons.png")
    print(options.output / "icons.png")


if __name__ == "__main__":
    main()
