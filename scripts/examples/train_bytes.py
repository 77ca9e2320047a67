"""Train a small language model from nothing on bytes: no vocabulary to learn, no text that it cannot read.

python train_bytes.py --text mine.txt --width 384 --layers 6
python train_bytes.py --data roneneldan/TinyStories              # from the Hub, with `pip install datasets`
python train_bytes.py --toy                                      # no network, seconds
accelerate launch train_bytes.py --text mine.txt                 # on all GPUs
"""

import argparse
from pathlib import Path

from accelerate import Accelerator
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, default_data_collator, set_seed

from hf_tokext import ByteTokenizer, bits_per_byte


def windows(tokenizer: ByteTokenizer, texts: list[str], length: int) -> list[dict]:
    """Windows of one length, opened by bos; `encode_bytes` gives the bytes of all texts at memory speed."""
    ids, _ = tokenizer.encode_bytes(texts)
    rows = len(ids) // (length - 1)
    if rows == 0:
        raise SystemExit(f"the text has only {len(ids)} bytes; give more of it, or a smaller --length")
    cut = ids[: rows * (length - 1)].reshape(rows, length - 1).tolist()
    return [{"input_ids": [tokenizer.bos_token_id, *row], "labels": [tokenizer.bos_token_id, *row]} for row in cut]


def stories(name: str, count: int) -> list[str]:
    """The first texts of a data set on the Hub."""
    from datasets import load_dataset

    return [row["text"] for row in load_dataset(name, split="train", streaming=True).take(count)]


def main() -> None:
    """Make, train, measure, save, write a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, action="append", help="UTF-8 file to learn from; repeat for more")
    parser.add_argument("--data", default="roneneldan/TinyStories", help="Hub data set with a text column")
    parser.add_argument("--texts", type=int, default=20_000, help="texts of the data set to take")
    parser.add_argument("--output", type=Path, default=Path("bytes"), help="result folder")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=32, help="windows a step and device")
    parser.add_argument("--length", type=int, default=512, help="bytes in a window, the opening id included")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--toy", action="store_true", help="a tiny model and text")
    args = parser.parse_args()
    if args.toy:
        from toy import toy_text

        args.text = args.text or [toy_text(args.output / "text.txt")]
        args.width, args.layers, args.steps, args.length = 32, 2, min(args.steps, 60), 64
        args.batch, args.learning_rate = min(args.batch, 8), 1e-2
    texts = [path.read_text(encoding="utf-8") for path in args.text] if args.text else stories(args.data, args.texts)

    set_seed(args.seed)
    tokenizer = ByteTokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        intermediate_size=3 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=max(1, args.width // 32),
        max_position_embeddings=args.length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    accelerator = Accelerator()  # under `accelerate launch` one process speaks
    accelerator.print(f"{model.num_parameters():,} parameters")
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(args.output / "run"),
            max_steps=args.steps,
            per_device_train_batch_size=args.batch,
            learning_rate=args.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=args.steps // 10,
            bf16=args.bf16,
            logging_steps=max(1, args.steps // 10),
            report_to="none",
            seed=args.seed,
        ),
        train_dataset=windows(tokenizer, texts, args.length),
        data_collator=default_data_collator,
        processing_class=tokenizer,
    )
    sample = [text[:4000] for text in texts[:4]]
    before = bits_per_byte(model, tokenizer, sample, window=args.length).bits_per_byte
    trainer.train()
    after = bits_per_byte(model, tokenizer, sample, window=args.length).bits_per_byte
    trainer.save_model(str(args.output / "model"))
    accelerator.print(f"bits per byte on the beginning of the text: {before:.3f} before, {after:.3f} after")
    inputs = tokenizer("the ", return_tensors="pt").to(model.device)
    made = model.generate(**inputs, max_new_tokens=32, do_sample=False)[0]
    accelerator.print(tokenizer.decode(made, skip_special_tokens=True))
    accelerator.print(f"saved in {args.output / 'model'}; AutoModelForCausalLM and AutoTokenizer load it")


if __name__ == "__main__":
    main()
