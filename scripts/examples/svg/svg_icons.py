"""Train a small language model on your icons from nothing, let it draw what captions ask for, and look at what it drew.

    python svg_icons.py FOLDER --output icons --steps 3000
    python svg_icons.py --toy --output icons

FOLDER is searched for .svg files. Each is put on a grid, and its caption (see docs/svg.md) becomes its first element, a
title; so a model over the vocabulary of `SVGTokenizer` alone can be asked for a drawing by a title. One caption in ten is
held out. Printed are the bits that the drawings of those captions cost behind their titles, beside a unigram and a bigram
of the same training drawings. The output folder gets the model, its drawings as .svg, and icons.png. Its rows: icons; the
same icons read and written on the grid; held-out icons; what the model draws for their captions; and what the bigram
draws under the same grammar. What cannot be drawn is grey. Needs resvg-py, pillow and tinycss2.
"""

import argparse
import io
import math
import random
import re
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
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
from hf_tokext.models.svg.instructions import Captioned, read_drawings

PIXELS, COLUMNS = 96, 8
COLORS, SIZES = ("red", "teal", "black"), {"small": 4, "large": 8}


def toy(folder: Path) -> list[Path]:
    """Squares instead of icons."""
    folder.mkdir(parents=True, exist_ok=True)
    for color in COLORS:
        for name, size in SIZES.items():
            for x in range(1, 6):
                for y in range(1, 6):
                    (folder / f"{name} {color} {x} {y}.svg").write_text(
                        f'<svg viewBox="0 0 16 16"><path d="M{x} {y}h{size}v{size}h-{size}z" fill="{color}"/></svg>'
                    )
    return sorted(folder.glob("*.svg"))


def titled(each: Captioned) -> str:
    """A cleaned drawing with its caption as the first element."""
    plain = re.sub(r"<title[^>]*>.*?</title>|<title/>", "", each.drawing, flags=re.DOTALL)
    root = re.match(r"<[^>]*[^/]>", plain)
    return f"{root[0]}<title>{escape(each.caption)}</title>{plain[root.end() :]}" if root else plain


def question(tokenizer: SVGTokenizer, ids: list[int]) -> int:
    """Ids up to the end of the title."""
    return ids.index(tokenizer.domain.index("/")) + 1


class Bigram:
    """Counts of pairs, backed off to those of single ids and to all ids alike."""

    def __init__(self, rows: list[list[int]], size: int) -> None:
        self.pairs = np.zeros((size, size), dtype=np.float32)
        for row in rows:
            np.add.at(self.pairs, (row[:-1], row[1:]), 1)
        single = self.pairs.sum(0)
        self.single = (single + 0.1) / (single.sum() + 0.1 * size)

    def after(self, index: int) -> np.ndarray:
        """Probabilities of the next id, [size]."""
        return (self.pairs[index] + 4 * self.single) / (self.pairs[index].sum() + 4)

    def draw(self, tokenizer: SVGTokenizer, ids: list[int], length: int, chance: np.random.Generator) -> list[int]:
        """Go on behind some ids under the grammar."""
        grammar, ids = tokenizer.domain.grammar, list(ids)
        state = grammar.read(ids)
        while not grammar.complete(state):
            weights = self.after(ids[-1])[: grammar.size] * grammar.within(state, length - len(ids))
            ids.append(int(chance.choice(grammar.size, p=weights / weights.sum())))
            state = grammar.advance(state, ids[-1])
        return ids


def bits(model: LlamaForCausalLM, row: list[int], start: int) -> float:
    """What a model needs for the ids from a place on."""
    ids = torch.tensor([row], device=model.device)
    with torch.no_grad():
        scores = model(input_ids=ids).logits[0, start - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(scores, ids[0, start:], reduction="sum")) / math.log(2)


def original(each: Captioned) -> str:
    """The file of a drawing as it is."""
    return Path(each.path).read_text(encoding="utf-8-sig")


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


def sheet(rows: list[list[str]]) -> Image.Image:
    """Rows of drawings; what could not be drawn is grey."""
    gap = PIXELS + 8
    found = Image.new("RGB", (COLUMNS * gap + 8, len(rows) * gap + 8), "lightblue")
    for down, row in enumerate(rows):
        for across, each in enumerate(row[:COLUMNS]):
            image = picture(each) or Image.new("RGB", (PIXELS, PIXELS), "grey")
            found.paste(image, (across * gap + 8, down * gap + 8))
    return found


def train(tokenizer: SVGTokenizer, rows: list[list[int]], options: argparse.Namespace) -> LlamaForCausalLM:
    """A small Llama on some drawings."""
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=options.width, intermediate_size=3 * options.width,
            num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=options.length,
            tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    arguments = TrainingArguments(
        str(options.output), max_steps=options.steps, per_device_train_batch_size=8, learning_rate=3e-3,
        warmup_steps=min(50, options.steps // 5), lr_scheduler_type="cosine", report_to="none", save_strategy="no",
        logging_steps=max(options.steps // 6, 1), disable_tqdm=True, train_sampling_strategy="group_by_length",
        dataloader_pin_memory=False,
    )  # fmt: skip
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    dataset = Dataset.from_list([{"input_ids": row} for row in rows])
    Trainer(model, arguments, data_collator=collator, train_dataset=dataset).train()
    return model.eval()


def main() -> None:
    """Train, draw, and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument(
        "--toy", action="store_true", help="squares instead of a folder, a small model, 120 steps at most"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--length", type=int, default=192, help="tokens of a drawing at most; longer ones are left out")
    parser.add_argument("--grid", type=int, default=64, help="steps over the longer side of an icon")
    parser.add_argument("--width", type=int, default=192, help="of the model")
    options = parser.parse_args()
    set_seed(0)
    if options.toy:
        paths, options.steps, options.grid, options.width = toy(options.output / "toy"), min(options.steps, 120), 16, 64
    elif options.folder:
        paths = sorted(path for path in options.folder.rglob("*.svg") if path.is_file() and not path.is_symlink())
    else:
        parser.error("give a folder of .svg files, or --toy")

    tokenizer = SVGTokenizer(domain_settings={"mode": "quantised", "grid": options.grid})
    drawings, left_out = read_drawings(paths, tokenizer.domain)
    spelt = [(each, tokenizer(titled(each)).input_ids) for each in drawings]
    fitting = [(each, ids) for each, ids in spelt if len(ids) <= options.length and "<title>" in titled(each)]
    captions = sorted({each.caption for each, _ in fitting})
    if len(captions) < 20:
        raise SystemExit(
            f"only {len(captions)} captions have drawings of up to {options.length} tokens; give more files"
        )
    hidden = set(random.Random(0).sample(captions, len(captions) // 10))
    seen = [(each, ids) for each, ids in fitting if each.caption not in hidden]
    held = [(each, ids) for each, ids in fitting if each.caption in hidden]
    print(f"{len(paths)} files, {len(left_out)} left out; {len(seen)} drawings to learn from, {len(held)} held out, of up to "
          f"{options.length} of {len(tokenizer):,} ids")  # fmt: skip
    rows = [ids for _, ids in seen]
    model, bigram = train(tokenizer, rows, options), Bigram(rows, len(tokenizer))
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)

    starts = [question(tokenizer, ids) for _, ids in held]
    pairs = list(zip([ids for _, ids in held], starts, strict=True))
    ours = np.mean([bits(model, ids, start) for ids, start in pairs])
    twos = np.mean(
        [-sum(np.log2(bigram.after(a)[b]) for a, b in zip(ids[at - 1 :], ids[at:], strict=False)) for ids, at in pairs]
    )
    ones = np.mean([-np.log2(bigram.single[ids[start:]]).sum() for ids, start in pairs])
    print(f"bits a held-out drawing behind its title: model {ours:,.0f}, bigram {twos:,.0f}, unigram {ones:,.0f}")

    shown = random.Random(3).sample(seen, min(COLUMNS, len(seen)))
    asked = list({each.caption: (each, *pair) for (each, _), pair in zip(held, pairs, strict=True)}.values())[:COLUMNS]
    drawn, chance = [], np.random.default_rng(0)
    for _, ids, start in asked:
        grammar = GrammarLogitsProcessor(
            [(tokenizer.domain, 0)], options.length, only="svg", eos_token_id=tokenizer.pad_token_id
        )
        prompt = torch.tensor([ids[:start]], device=model.device)
        found = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, temperature=0.6, top_p=0.95,
            max_length=options.length, logits_processor=[grammar], eos_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        drawn.append(tokenizer.decode(found[0].tolist()))
    for number, ((each, _, _), drawing) in enumerate(zip(asked, drawn, strict=True), 1):
        tokenizer(drawing)  # raises where it is malformed
        name = re.sub(r"[^a-z0-9]+", "_", each.caption.lower())[:80]  # of several captions it may be the same
        (options.output / f"{number}_{name}.svg").write_text(drawing, encoding="utf-8")
    sheet(
        [
            [original(each) for each, _ in shown],
            [each.drawing for each, _ in shown],
            [original(each) for each, _, _ in asked],
            drawn,
            [tokenizer.decode(bigram.draw(tokenizer, ids[:at], options.length, chance)) for _, ids, at in asked],
        ]
    ).save(options.output / "icons.png")
    print(f"asked for: {', '.join(each.caption for each, _, _ in asked)}; {len(drawn)} drawings, all well-formed")
    print(options.output / "icons.png")


if __name__ == "__main__":
    main()
