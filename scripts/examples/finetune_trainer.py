"""Put another tokenizer on a model, and fine-tune all of it with transformers' Trainer.

python finetune_trainer.py --text mine.txt                       # SmolLM2-135M with GPT-2's tokenizer
python finetune_trainer.py --text a.txt --text b.txt --base org/model --donor org/tokenizer --bf16
python finetune_trainer.py --toy                                 # no network, seconds
accelerate launch finetune_trainer.py --text mine.txt            # on all GPUs
"""

import argparse
from pathlib import Path

from accelerate import Accelerator
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator

from hf_tokext import bits_per_byte, transplant_checkpoint


def examples(tokenizer, texts: list[str], length: int) -> list[dict]:
    """The texts end to end, each closed by the end of sequence, in windows of one length."""
    ids = [i for text in texts for i in (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)]
    windows = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    if not windows:
        raise SystemExit(f"the text has only {len(ids)} tokens; give more of it, or a smaller --length")
    return [{"input_ids": window, "labels": window} for window in windows]


def main() -> None:
    """Transplant, measure, train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M", help="model: Hub id or folder")
    parser.add_argument("--donor", default="openai-community/gpt2", help="tokenizer to put on: Hub id or folder")
    parser.add_argument("--text", type=Path, action="append", help="UTF-8 file to learn from; repeat for more")
    parser.add_argument("--output", type=Path, default=Path("finetuned"), help="result folder")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8, help="windows a step and device")
    parser.add_argument("--length", type=int, default=256, help="tokens in a window")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--toy", action="store_true", help="a tiny model made on the spot")
    args = parser.parse_args()
    if args.toy:
        from toy import toy_checkpoint, toy_donor, toy_text

        args.base, args.donor = toy_checkpoint(args.output / "toy-base"), toy_donor(args.output / "toy-donor")
        args.text = args.text or [toy_text(args.output / "text.txt")]
        args.steps, args.length, args.learning_rate = min(args.steps, 30), 32, 1e-2
    if not args.text:
        parser.error("give a text to learn from: --text FILE (or --toy)")
    texts = [path.read_text(encoding="utf-8") for path in args.text]

    accelerator = Accelerator()
    if accelerator.is_main_process:  # the others wait for its files
        report = transplant_checkpoint(args.base, args.donor, args.output / "transplanted", texts=texts, overwrite=True)
        print("rows:", ", ".join(f"{count:,} {name}" for name, count in report.counts.items()))
    accelerator.wait_for_everyone()
    model = AutoModelForCausalLM.from_pretrained(args.output / "transplanted", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(args.output / "transplanted")

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
        ),
        train_dataset=examples(tokenizer, texts, args.length),
        data_collator=default_data_collator,
        processing_class=tokenizer,  # saved with every checkpoint
    )
    sample = [text[:4000] for text in texts]
    before = bits_per_byte(model, tokenizer, sample).bits_per_byte
    trainer.train()  # goes on from a stop with resume_from_checkpoint=True
    after = bits_per_byte(model, tokenizer, sample).bits_per_byte
    trainer.save_model(str(args.output / "model"))
    accelerator.print(f"bits per byte on the beginning of the text: {before:.3f} before, {after:.3f} after")
    accelerator.print(f"saved in {args.output / 'model'}; AutoModelForCausalLM and AutoTokenizer load it")


if __name__ == "__main__":
    main()
