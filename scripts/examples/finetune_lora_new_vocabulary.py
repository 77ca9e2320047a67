"""Train a tokenizer on a text, put it on a model, and learn the whole new vocabulary with LoRA.

Both matrices of the vocabulary are learned whole (`modules_to_save`), the layers by LoRA. Where head and embedding are
one matrix, `ensure_weight_tying` keeps them one. The adapter is merged at the end: the result is an ordinary checkpoint.

    python finetune_lora_new_vocabulary.py --text mine.txt --vocabulary 16384
    python finetune_lora_new_vocabulary.py --toy                     # no network, seconds
    accelerate launch finetune_lora_new_vocabulary.py --text mine.txt  # on all GPUs
"""

import argparse
from pathlib import Path

from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
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
    """Transplant, learn, merge, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M", help="model: Hub id or folder")
    parser.add_argument("--text", type=Path, action="append", help="UTF-8 file to learn from; repeat for more")
    parser.add_argument("--vocabulary", type=int, default=16_384, help="ids of the new tokenizer")
    parser.add_argument("--output", type=Path, default=Path("new-vocabulary"), help="result folder")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8, help="windows a step and device")
    parser.add_argument("--length", type=int, default=256, help="tokens in a window")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--toy", action="store_true", help="a tiny model made on the spot")
    args = parser.parse_args()
    if args.toy:
        from toy import toy_checkpoint, toy_text

        args.base, args.vocabulary = toy_checkpoint(args.output / "toy-base"), 310
        args.text = args.text or [toy_text(args.output / "text.txt")]
        args.steps, args.length, args.learning_rate = min(args.steps, 30), 32, 1e-2
    if not args.text:
        parser.error("give a text to learn from: --text FILE (or --toy)")
    texts = [path.read_text(encoding="utf-8") for path in args.text]

    accelerator = Accelerator()
    if accelerator.is_main_process:  # the others wait for its files
        report = transplant_checkpoint(
            args.base, None, args.output / "transplanted", train_on=texts, vocab_size=args.vocabulary, texts=texts,
            overwrite=True,
        )  # fmt: skip
        print(f"the text had {report.text['tokens_before']:,} tokens, and has {report.text['tokens_after']:,} now")
    accelerator.wait_for_everyone()
    model = AutoModelForCausalLM.from_pretrained(args.output / "transplanted", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(args.output / "transplanted")

    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    matrices = [name for name, part in model.named_modules() if part is embedding or (part is head and not tied)]
    config = LoraConfig(
        r=args.rank,
        lora_alpha=2 * args.rank,
        target_modules="all-linear",
        modules_to_save=matrices,
        ensure_weight_tying=tied,
        task_type="CAUSAL_LM",
    )
    learner = get_peft_model(model, config)
    if accelerator.is_main_process:
        learner.print_trainable_parameters()
    trainer = Trainer(
        model=learner,
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
        processing_class=tokenizer,
    )
    sample = [text[:4000] for text in texts]
    before = bits_per_byte(model, tokenizer, sample).bits_per_byte
    trainer.train()
    merged = learner.merge_and_unload(safe_merge=True)
    after = bits_per_byte(merged, tokenizer, sample).bits_per_byte
    if accelerator.is_main_process:
        merged.save_pretrained(args.output / "model")
        tokenizer.save_pretrained(args.output / "model")
        print(f"bits per byte on the beginning of the text: {before:.3f} before, {after:.3f} after")
        print(f"saved in {args.output / 'model'}; AutoModelForCausalLM and AutoTokenizer load it, without PEFT")


if __name__ == "__main__":
    main()
