"""What `--toy` runs on: a tiny random model, a tokenizer and a text, made on the spot without a network."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import torch
from accelerate import Accelerator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = "the cat sat on the mat and the dog sat on the log; a bee flew over the hill.\n" * 40


def toy_tokenizer(vocabulary: int, text: str = TEXT) -> PreTrainedTokenizerFast:
    """A byte-level BPE."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special, alphabet = ["<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def once(make: Callable[[Path], None]) -> Callable[[Path], Path]:
    """Under `accelerate launch` one process makes the files, and the others wait for them."""

    @wraps(make)
    def made(path: Path) -> Path:
        accelerator = Accelerator()
        if accelerator.is_main_process:
            make(path)
        accelerator.wait_for_everyone()
        return path

    return made


@once
def toy_checkpoint(folder: Path) -> None:
    """A Llama with two layers and its tokenizer."""
    tokenizer = toy_tokenizer(300)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, bos_token_id=0, eos_token_id=1, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@once
def toy_donor(folder: Path) -> None:
    """Another tokenizer, learnt from another text."""
    toy_tokenizer(320, "rivers and boats and bridges; boats on rivers, " * 40).save_pretrained(folder)


@once
def toy_text(file: Path) -> None:
    """A text file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEXT, encoding="utf-8")
