"""Teach a language model to draw from SVG files of your own, in the two stages of LLM4SVG, and look at what it draws.

    python teach_drawing.py FOLDER --base HuggingFaceTB/SmolLM2-135M --output out
    python teach_drawing.py --toy --output out               # no network, squares, a tiny random model

The .svg files of FOLDER are put on a grid and captioned (docs/svg.md); one caption in ten is held out. The base gets the
tokens of SVG beside its own. The first stage trains their rows alone on captions and drawings, the second one LoRA and these
rows on questions and answers. The result is merged and saved as an ordinary checkpoint, loaded again, and asked for
drawings under the grammar. Printed are the nats a token that held-out answers cost before, between and after; the output folder gets
the model, the drawings as .svg, and drawings.png: files above, what the model draws for their captions below, of known
captions at the left, of held-out ones at the right. Needs resvg-py, pillow, datasets and tinycss2.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, TrainableTokensConfig, get_peft_model
from svg_icons import COLUMNS, original, sheet, toy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hf_tokext import domains_of, extend_model, keep_to_grammar, make_domain, trainable_rows
from hf_tokext.models.svg.instructions import DRAW, Captioned, drawing_dataset, read_drawings
from hf_tokext.vocabulary.spaces import Spaces

CAPTION = 64  # ids that are kept for a caption and its question


def trained(model: Any, tokenizer: Any, rows: Any, steps: int, options: argparse.Namespace) -> Any:
    """Train an adapted model, and merge what was learnt into it."""
    arguments = TrainingArguments(
        str(options.output / "run"), max_steps=steps, per_device_train_batch_size=options.batch,
        learning_rate=options.learning_rate, lr_scheduler_type="cosine", warmup_steps=steps // 10, report_to="none",
        save_strategy="no", logging_steps=max(steps // 5, 1), disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(model, arguments, data_collator=DataCollatorForSeq2Seq(tokenizer), train_dataset=rows).train()
    return model.merge_and_unload()


@torch.no_grad()
def cost(model: Any, rows: Any) -> float:
    """Nats a token of answers."""
    lost, tokens = 0.0, 0
    for row in rows:
        ids, labels = (torch.tensor([row[name]], device=model.device) for name in ("input_ids", "labels"))
        count = int((labels[:, 1:] != -100).sum())
        lost, tokens = lost + model.eval()(input_ids=ids, labels=labels).loss.item() * count, tokens + count
    return lost / tokens


@torch.no_grad()
def drawn(model: Any, tokenizer: Any, captions: list[str], length: int) -> list[str]:
    """A drawing for each caption."""
    tokenizer.padding_side = "left"
    prompts = [(tokenizer.bos_token or "") + DRAW.format(caption=caption) for caption in captions]  # as in training
    asked = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt").to(model.device)
    start = asked["input_ids"].shape[1]
    found = model.eval().generate(
        **asked, max_length=length, do_sample=True, temperature=0.6, top_k=0, pad_token_id=tokenizer.pad_token_id,
        logits_processor=[keep_to_grammar(tokenizer, max_length=length, only="svg")],
    )  # fmt: skip
    svg, space = domains_of(tokenizer)["svg"], Spaces.read(tokenizer)["svg"]
    written = [space.indices(row) for row in found[:, start:].tolist()]
    for indices in written:
        if not svg.grammar.complete(svg.grammar.read(indices)):
            raise SystemExit("a drawing is malformed, which the grammar should not allow")
    return [svg.write(indices) for indices in written]


def main() -> None:
    """Extend, train twice, save, load, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M", help="model: Hub id or folder")
    parser.add_argument("--toy", action="store_true", help="squares instead of a folder, and a tiny model")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs=2, default=(300, 600), help="of the two stages")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=256, help="ids of a row at most; longer drawings are left out")
    parser.add_argument("--grid", type=int, default=64, help="steps over the longer side of an icon")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    set_seed(0)
    if options.toy:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from toy import toy_checkpoint

        options.base, options.learning_rate, options.grid = toy_checkpoint(options.output / "toy-base"), 1e-2, 16
        paths = toy(options.output / "toy")
    elif options.folder:
        paths = sorted(path for path in options.folder.rglob("*.svg") if path.is_file() and not path.is_symlink())
    else:
        parser.error("give a folder of .svg files, or --toy")

    svg = make_domain("svg", {"mode": "quantised", "grid": options.grid})
    drawings, left_out = read_drawings(paths, svg)  # type: ignore[arg-type]
    model = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32)
    model, tokenizer, _ = extend_model(model, AutoTokenizer.from_pretrained(options.base), [svg])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    short = [each for each in drawings if len(svg.parse(each.drawing)) <= options.length - CAPTION]
    captions = sorted({each.caption for each in short})
    if len(captions) < 20:
        raise SystemExit(f"only {len(captions)} captions have drawings of up to {options.length} ids; give more files")
    hidden = set(random.Random(0).sample(captions, len(captions) // 10))
    seen, held = ([each for each in short if (each.caption in hidden) is there] for there in (False, True))
    print(
        f"{len(paths)} files, {len(left_out)} left out, {len(drawings) - len(short)} too long; {len(seen)} to learn from, {len(held)} held out"
    )

    def rows(some: list[Captioned], stage: str) -> Any:
        return drawing_dataset(some, tokenizer, svg, stage, options.length)[0]  # type: ignore[arg-type]

    space, asked = Spaces.read(tokenizer)["svg"], rows(held, "instruction")
    new = list(range(space.base, space.base + space.size))
    told = [cost(model, asked)]
    tables = trainable_rows(model, new)
    modules = list(tables) if isinstance(tables, dict) else ["embed_tokens"]
    first = get_peft_model(model, TrainableTokensConfig(target_modules=modules, token_indices=new))
    model = trained(first, tokenizer, rows(seen, "alignment"), options.steps[0], options)
    told.append(cost(model, asked))
    lora = LoraConfig(r=16, target_modules="all-linear", trainable_token_indices=tables, task_type="CAUSAL_LM")
    model = trained(get_peft_model(model, lora), tokenizer, rows(seen, "instruction"), options.steps[1], options)
    told.append(cost(model, asked))
    print(
        "nats a token of held-out answers: extended {:.2f}, after the first stage {:.2f}, after both {:.2f}".format(
            *told
        )
    )
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)

    model = AutoModelForCausalLM.from_pretrained(options.output, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(options.output)
    half = COLUMNS // 2
    shown = [each for some in (seen, held) for each in {each.caption: each for each in some}.values()]
    known = random.Random(1).sample([each for each in shown if each.caption not in hidden], half)
    shown = [*known, *[each for each in shown if each.caption in hidden][:half]]
    made = drawn(model, tokenizer, [each.caption for each in shown], options.length)
    for number, drawing in enumerate(made):
        (options.output / f"{number}.svg").write_text(drawing, encoding="utf-8")
    sheet([[original(each) for each in shown], made]).save(options.output / "drawings.png")
    print(f"asked for: {', '.join(each.caption for each in shown)}; {len(made)} drawings, all well-formed")
    print(options.output / "drawings.png")


if __name__ == "__main__":
    main()
