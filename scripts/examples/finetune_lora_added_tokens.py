"""Add a few tokens to a model, give them sensible rows, and learn only those rows, with LoRA on the layers.

The new rows start from the meaning that is given after the `=` (the mean of the rows of its tokens), and PEFT's
`trainable_token_indices` learns them alone: the adapter stores a few vectors, not the matrices of the vocabulary.

    python finetune_lora_added_tokens.py --text mine.txt --token '<call>=call' --token '</call>=end of call'
    python finetune_lora_added_tokens.py --toy                       # no network, seconds
    accelerate launch finetune_lora_added_tokens.py --text mine.txt --token '<call>=call'  # on all GPUs
"""

import argparse
import copy
from pathlib import Path

from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, default_data_collator

from hf_tokext import bits_per_byte, transplant_tokenizer

TOY = "<call> the cat </call> sat on the mat; <call> the dog </call> sat on the log.\n" * 40


def examples(tokenizer, texts: list[str], length: int) -> list[dict]:
    """The texts end to end, each closed by the end of sequence, in windows of one length."""
    ids = [i for text in texts for i in (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)]
    windows = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    if not windows:
        raise SystemExit(f"the text has only {len(ids)} tokens; give more of it, or a smaller --length")
    return [{"input_ids": window, "labels": window} for window in windows]


def main() -> None:
    """Add, save the base with its new rows, learn, save the adapter beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="HuggingFaceTB/SmolLM2-135M", help="model: Hub id or folder")
    parser.add_argument("--token", action="append", metavar="TOKEN=MEANING", help="token to add; repeat for more")
    parser.add_argument("--text", type=Path, action="append", help="UTF-8 file that uses them; repeat for more")
    parser.add_argument("--output", type=Path, default=Path("added-tokens"), help="result folder")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8, help="windows a step and device")
    parser.add_argument("--length", type=int, default=256, help="tokens in a window")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--toy", action="store_true", help="a tiny model made on the spot")
    args = parser.parse_args()
    if args.toy:
        from toy import toy_checkpoint

        args.base, args.token = toy_checkpoint(args.output / "toy-base"), ["<call>=the", "</call>=on the"]
        args.steps, args.length, args.learning_rate = min(args.steps, 30), 32, 1e-2
    if not args.token or not (args.text or args.toy):
        parser.error("give tokens and a text that uses them: --token TOKEN=MEANING --text FILE (or --toy)")
    meanings = dict(token.split("=", 1) if "=" in token else (token, token.strip("<|/>")) for token in args.token)
    texts = [TOY] if args.toy and not args.text else [path.read_text(encoding="utf-8") for path in args.text]

    accelerator = Accelerator()
    if accelerator.is_main_process:  # the others wait for its files
        model, tokenizer = AutoModelForCausalLM.from_pretrained(args.base), AutoTokenizer.from_pretrained(args.base)
        larger = copy.deepcopy(tokenizer)
        larger.add_tokens(list(meanings))
        model, tokenizer, _ = transplant_tokenizer(model, tokenizer, larger, overrides=meanings, texts=texts)
        model.save_pretrained(args.output / "base")
        tokenizer.save_pretrained(args.output / "base")
    accelerator.wait_for_everyone()
    # the adapter will name this folder
    model = AutoModelForCausalLM.from_pretrained(args.output / "base", dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(args.output / "base")

    ids = tokenizer.convert_tokens_to_ids(list(meanings))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    tied = head.weight is embedding.weight
    matrices = [name for name, part in model.named_modules() if part is embedding or (part is head and not tied)]
    config = LoraConfig(
        r=args.rank,
        lora_alpha=2 * args.rank,
        target_modules="all-linear",
        trainable_token_indices=dict.fromkeys(matrices, ids),
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
    after = bits_per_byte(model, tokenizer, sample).bits_per_byte
    if accelerator.is_main_process:
        learner.save_pretrained(args.output / "adapter")
        tokenizer.save_pretrained(args.output / "adapter")
        print(f"bits per byte on the beginning of the text: {before:.3f} before, {after:.3f} after")
        print(f"saved in {args.output / 'adapter'}; AutoPeftModelForCausalLM loads it onto {args.output / 'base'}")


if __name__ == "__main__":
    main()
