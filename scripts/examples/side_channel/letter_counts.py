"""Tell a language model how long its tokens are, as ids beside them, and ask it for the letters of words.

A token says nothing of its characters, so a model has to know every one's length by heart. Here that stands beside each
token as a side id. The model is tuned with LoRA on some words, and asked for others: with the true ids, with those of
another word of as many tokens, and without. `--without-ids` tunes a model that never sees any, to compare.

    python scripts/examples/side_channel/letter_counts.py --model "$(python scripts/samples.py smollm2-135m)"
    python scripts/examples/side_channel/letter_counts.py --toy
"""

import argparse
import random
import re
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from hf_tokext import ByteTokenizer, SideChannelForCausalLM

LONGEST = 24  # characters of a token that have a row of their own
HELD_OUT = 100
STD = 0.1  # of the new rows: from zero they take longer to be noticed
Row = dict[str, torch.Tensor]


def words() -> list[str]:
    """Words of Python's own manual, in an order that says nothing."""
    found = set(re.findall(r"\b[a-z]{3,16}\b", " ".join(topics.values())))
    return sorted(found, key=lambda word: (hash_of(word), word))


def hash_of(word: str) -> int:
    """The same number in every run."""
    return random.Random(word).getrandbits(32)


def row(tokenizer: PreTrainedTokenizerBase, word: str, without_ids: bool) -> Row:
    """A sentence; what is learned is the number and the token after it."""
    question = tokenizer(f"The word {word} has", add_special_tokens=False).input_ids
    answer = tokenizer(f" {len(word)} letters", add_special_tokens=False).input_ids
    lengths = [min(len(tokenizer.decode([token]).strip()), LONGEST) for token in question]
    lengths = [-1] * len(question) if without_ids else lengths
    return {
        "input_ids": torch.tensor(question + answer),
        "side_ids": torch.tensor([*lengths, *[-1] * len(answer)])[:, None],
        "labels": torch.tensor([-100] * len(question) + answer),
    }


def collate(rows: list[Row]) -> Row:
    """Pad on the right; -1 is no side id."""
    values = {"input_ids": 0, "side_ids": -1, "labels": -100}
    found = {
        name: pad_sequence([one[name] for one in rows], batch_first=True, padding_value=value)
        for name, value in values.items()
    }
    seen = [torch.ones(len(one["input_ids"]), dtype=torch.long) for one in rows]
    return found | {"attention_mask": pad_sequence(seen, batch_first=True)}


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    """Each row with the side ids of another one of the same length."""
    by_length: dict[int, list[int]] = {}
    for at, one in enumerate(rows):
        by_length.setdefault(len(one["input_ids"]), []).append(at)
    source = {}
    for places in by_length.values():
        moved = places.copy()
        random.Random(seed).shuffle(moved)
        source |= dict(zip(places, moved, strict=True))
    return [one | {"side_ids": rows[source[at]]["side_ids"]} for at, one in enumerate(rows)]


def batches(rows: list[Row], size: int) -> Iterator[Row]:
    """The rows in order."""
    for start in range(0, len(rows), size):
        yield collate(rows[start : start + size])


@torch.no_grad()
def measure(model: Any, rows: list[Row], size: int) -> str:
    """Nats a token of the answers, and the share of rows whose answer is the likeliest at each of its tokens."""
    model.eval()
    lost, tokens, right = 0.0, 0, 0
    for batch in batches(rows, size):
        found = model(**{name: value.to(model.device) for name, value in batch.items()})
        asked = batch["labels"][:, 1:].to(model.device)
        here = int((asked != -100).sum())
        lost, tokens = lost + found.loss.item() * here, tokens + here
        right += int(((found.logits[:, :-1].argmax(-1) == asked) | (asked == -100)).all(-1).sum())
    return f"{lost / tokens:.4f} nats a token, {right / len(rows):.1%} right"


def toy() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A tiny random model that reads bytes."""
    tokenizer = ByteTokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


def main() -> None:
    """Tune, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="a causal LM, a name or a folder"
    )
    parser.add_argument("--toy", action="store_true", help="a tiny random model that reads bytes, and few words")
    parser.add_argument("--without-ids", action="store_true", help="tune and measure without side ids")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of AdamW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for the merged model and its tokenizer")
    options = parser.parse_args()
    torch.manual_seed(options.seed)

    if options.toy:
        base, tokenizer = toy()
    else:
        base = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = SideChannelForCausalLM.from_backbone(base, {"lengths": {"size": LONGEST + 1, "std": STD}})
    rows = [row(tokenizer, word, options.without_ids) for word in words()]
    held_out, known = rows[:HELD_OUT], rows[HELD_OUT:]
    print(
        f"{len(known)} words to learn from, {len(held_out)} others; before: {measure(model, held_out, options.batch)}"
    )

    lora = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear", modules_to_save=["side"])
    tuned = get_peft_model(model, lora)
    arguments = TrainingArguments(
        output_dir=str(options.output or "letter_counts"), max_steps=options.steps, seed=options.seed, report_to=[],
        per_device_train_batch_size=options.batch, learning_rate=options.rate, save_strategy="no", logging_steps=10,
        warmup_steps=options.steps // 10, disable_tqdm=True,
    )  # fmt: skip
    Trainer(tuned, arguments, data_collator=collate, train_dataset=known).train()

    print(f"after: {measure(tuned, held_out, options.batch)}")
    if not options.without_ids:
        none = [one | {"side_ids": torch.full_like(one["side_ids"], -1)} for one in held_out]
        print(f"  with the ids of another word: {measure(tuned, shuffled(held_out, options.seed), options.batch)}")
        print(f"  without ids: {measure(tuned, none, options.batch)}")
    if options.output:
        tuned.merge_and_unload().save_pretrained(options.output)
        tokenizer.save_pretrained(options.output)
        print(f"saved in {options.output}")


if __name__ == "__main__":
    main()
