"""Teach a language model to draw: the tokens of SVG beside its own, LoRA on its layers, and the new rows trained alone.

Drawings of one shape each are made on the spot, such as "A red circle: " and an SVG. Then the model writes drawings under
the grammar, all of which are parsed, and counted where shape and colour are those that were asked for.

    python draw_shapes.py --base HuggingFaceTB/SmolLM2-135M --steps 200 --output out
    python draw_shapes.py --toy --output out                 # no network, a tiny random model
"""

import argparse
import sys
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from hf_tokext import VocabularyError, domains_of, extend_model, keep_to_grammar, trainable_rows
from hf_tokext.vocabulary.spaces import Spaces

COLOURS = ("red", "green", "blue", "black")
SHAPES = {
    "circle": '<circle cx="{x}" cy="{y}" r="{r}" fill="{c}"/>',
    "square": '<rect x="{x}" y="{y}" width="{r}" height="{r}" fill="{c}"/>',
}


def drawing(random: Random) -> tuple[str, str]:
    """A caption and its drawing."""
    colour, shape = random.choice(COLOURS), random.choice(list(SHAPES))
    x, y, r = random.randrange(4, 12), random.randrange(4, 12), random.randrange(2, 5)
    return f"A {colour} {shape}: ", f'<svg viewBox="0 0 16 16">{SHAPES[shape].format(x=x, y=y, r=r, c=colour)}</svg>'


def collated(tokenizer, rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """Pad on the right; padding is not learnt."""
    longest, pad = max(map(len, rows)), tokenizer.pad_token_id or tokenizer.eos_token_id
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def main() -> None:
    """Extend, train, save the adapter beside its base, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M", help="model: Hub id or folder")
    parser.add_argument("--output", type=Path, default=Path("shapes"), help="result folder")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sequences", type=int, default=100, help="drawings to write")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--toy", action="store_true", help="a tiny model made on the spot")
    args = parser.parse_args()
    if args.toy:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from toy import toy_checkpoint

        args.base, args.learning_rate = toy_checkpoint(args.output / "toy-base"), 1e-2

    model = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
    model, tokenizer, _ = extend_model(model, AutoTokenizer.from_pretrained(args.base), ["svg"])
    model.save_pretrained(args.output / "base")
    tokenizer.save_pretrained(args.output / "base")
    # the adapter will name this folder
    model = AutoModelForCausalLM.from_pretrained(args.output / "base", dtype="float32")

    svg, space = domains_of(tokenizer)["svg"], Spaces.read(tokenizer)["svg"]
    rows = trainable_rows(model, range(space.base, space.base + space.size))
    config = LoraConfig(r=8, target_modules="all-linear", trainable_token_indices=rows, task_type="CAUSAL_LM")
    learner = get_peft_model(model, config)
    random = Random(0)
    texts = [caption + svg.spell(text) for caption, text in (drawing(random) for _ in range(1_000))]
    trainer = Trainer(
        model=learner,
        args=TrainingArguments(
            output_dir=str(args.output / "run"),
            max_steps=args.steps,
            per_device_train_batch_size=args.batch,
            learning_rate=args.learning_rate,
            logging_steps=max(1, args.steps // 10),
            report_to="none",
        ),
        train_dataset=[[*tokenizer(text).input_ids, tokenizer.eos_token_id] for text in texts],
        data_collator=lambda chosen: collated(tokenizer, chosen),
    )
    trainer.train()
    learner.save_pretrained(args.output / "adapter")
    tokenizer.save_pretrained(args.output / "adapter")

    found = [draw(learner, tokenizer, svg, drawing(random)[0]) for _ in range(args.sequences)]
    whole = sum(text is not None for _, text in found)
    asked = sum(bool(text) and matches(caption, text) for caption, text in found)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(f"loss {losses[0]:.2f} at first, {losses[-1]:.2f} at last")
    print(f"{whole} of {len(found)} drawings well-formed; {asked} with the shape and the colour that were asked for")


def draw(model, tokenizer, svg, caption: str) -> tuple[str, str | None]:
    """A caption and the drawing that the model writes behind it, None where it is none."""
    ids = tokenizer(caption, return_tensors="pt").to(model.device)
    length = ids.input_ids.shape[1] + 60
    keeper = keep_to_grammar(tokenizer, max_length=length, only="svg")
    with torch.no_grad():
        made = model.generate(**ids, max_length=length, do_sample=True, logits_processor=[keeper])
    written = [index for index in made[0, ids.input_ids.shape[1] :].tolist() if index != tokenizer.eos_token_id]
    space = Spaces.read(tokenizer)["svg"]
    try:
        whole = svg.grammar.complete(svg.grammar.read([index - space.base for index in written]))
        (document,) = svg.documents(tokenizer.decode(written))
        ElementTree.fromstring(document)
    except (VocabularyError, ValueError, ElementTree.ParseError) as error:
        print(f"not well-formed: {error}")
        return caption, None
    return caption, document if whole else None


def matches(caption: str, text: str) -> bool:
    """Whether a drawing is of the shape and the colour of its caption."""
    _, colour, shape = caption.rstrip(": ").split(" ")
    return f'fill="{colour}"' in text and ("<circle" if shape == "circle" else "<rect") in text


if __name__ == "__main__":
    main()
