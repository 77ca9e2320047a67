"""Small checkpoints that people would bring to a trainer: transplanted ones, and one whose ids are bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from hf_tokext import ByteTokenizer, GlyphConfig, GlyphForCausalLM, GlyphTokenizer, transplant_tokenizer
from tests.tiny_models import tiny, tiny_config
from tests.tokenizers import TEXT, byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

EXAMPLES = Path(__file__).resolve().parents[2] / "scripts" / "examples"
PARTS = {"toy", "llvm_ir/functions"}  # modules that examples import
NAMES = sorted({path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in EXAMPLES.rglob("*.py")} - PARTS)
DOMAIN_EXAMPLES = [name for name in NAMES if "/" in name]  # in test_domain_examples.py; all others in test_examples.py
RIVERS = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4
# name: architecture, whether head and embedding are one matrix, the tokenizer that is put on
KINDS = {
    "llama-tied": ("llama", True, "byte_level"),
    "llama-untied": ("llama", False, "byte_level"),
    "gpt2": ("gpt2", True, "byte_level"),
    "qwen2": ("qwen2", True, "sentencepiece"),  # saved with an auto_map, since transformers would rebuild it
    "bytes": ("llama", True, "bytes"),
}


@dataclass(frozen=True)
class Small:
    """A checkpoint folder and what is known about it."""

    folder: Path
    tied: bool

    def model(self, **options: Any) -> PreTrainedModel:
        """Load the model, as a user would."""
        return AutoModelForCausalLM.from_pretrained(self.folder, **options)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Load the tokenizer, as a user would."""
        return AutoTokenizer.from_pretrained(self.folder)


def small(kind: str, folder: Path, layers: int = 2) -> Small:
    """Make one of `KINDS`, or "glyph", and save it as a checkpoint."""
    architecture, tied, donor = KINDS.get(kind, ("llama", False, kind))
    if donor == "bytes":
        tokenizer: PreTrainedTokenizerBase = ByteTokenizer()
        model = tiny(architecture, tied=tied, layers=layers, vocab_size=len(tokenizer))
    elif donor == "glyph":
        tokenizer, backbone = GlyphTokenizer(), tiny_config(architecture, tied=tied, layers=layers, vocab_size=50)
        backbone.intermediate_size = 4096  # so that layers are not lost beside 65,540 rows
        model = GlyphForCausalLM(GlyphConfig(backbone_config=backbone, embedding="random"))
    else:
        new = byte_level(310, text=RIVERS) if donor == "byte_level" else sentencepiece_like()
        model, tokenizer, _ = transplant_tokenizer(
            tiny(architecture, tied=tied, layers=layers, vocab_size=300), byte_level(300), new, calibrate=False
        )
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token  # as is usual where a tokenizer has none
        assert len(model.get_input_embeddings().weight) == len(tokenizer) != 300
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Small(folder, tied)


def examples(tokenizer: PreTrainedTokenizerBase, text: str = TEXT, length: int = 24, count: int = 32) -> list[dict]:
    """Pieces of a text as a trainer takes them, of unequal lengths so that the collator has to pad."""
    ids = tokenizer(text * 4)["input_ids"]
    starts = [(n * length) % (len(ids) - length) for n in range(count)]
    return [{"input_ids": ids[start : start + length - n % 3]} for n, start in enumerate(starts)]


def trainer(
    model: Any, tokenizer: PreTrainedTokenizerBase, output: Path, *, callbacks: list | None = None, **options: Any
) -> Trainer:
    """A plain Trainer for language modelling on the CPU."""
    settings = {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "learning_rate": 5e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
        "seed": 0,
    }
    made = Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(output), **settings | options),
        train_dataset=examples(tokenizer),
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    return made


def losses(run: Trainer) -> list[float]:
    """Training loss of every step."""
    return [entry["loss"] for entry in run.state.log_history if "loss" in entry]


def place_of_inputs(model: Any) -> torch.device:
    """Where inputs belong: beside the embedding, or on the CPU where accelerate keeps that on disk."""
    return torch.device("cpu") if model.device.type == "meta" else model.device


def logits(model: Any, tokenizer: PreTrainedTokenizerBase, text: str = "the cat sat on the log") -> torch.Tensor:
    """What a model says of a text, [1, ids, rows], float32."""
    ids = torch.tensor([tokenizer(text)["input_ids"]], device=place_of_inputs(model))
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits.float().cpu()


def generated(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What a model goes on with after a text, greedily."""
    inputs = tokenizer("the cat", return_tensors="pt").to(place_of_inputs(model))
    found = model.eval().generate(**inputs, max_new_tokens=6, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return found[0, inputs["input_ids"].shape[1] :].tolist()


def is_tied(model: Any) -> bool:
    """Whether head and embedding are one matrix."""
    return model.get_output_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
