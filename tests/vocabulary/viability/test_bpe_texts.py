"""Longer texts: every beginning of their encodings is viable."""

import json
import pydoc_data.topics
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from hf_tokext.vocabulary.pieces import read_vocabulary
from hf_tokext.vocabulary.viability.families import viability_of
from tests.vocabulary.viability.bpe_tokenizers import CUTTERS, MARK

ROOT = Path(__file__).parents[3]
SAMPLES = ("gpt2", "qwen3", "llama3", "nemo", "deepseek3", "gemma3", "llama2")
MIXED = "Z\u0308rich \u00c5\u0301 e\u0323\u0301 \ud55c\uad6d\uc5b4 \u4e2d\u6587\u3002 \U0001f642\U0001f469\u200d\U0001f4bb 12345 1,234  \n \n\n\t x's 'LL \u2019s <|a|> <|a\r\n"


def _texts() -> list[str]:
    code = Path(statistics.__file__).read_text(encoding="utf-8")[:24_000]
    return [code, pydoc_data.topics.topics["formatstrings"][:24_000], MIXED * 20]


def _trained(cutter: str, vocab_size: int = 700, ignore_merges: bool = False) -> Tokenizer:
    core = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    core.pre_tokenizer, core.decoder = CUTTERS[cutter](), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(_texts(), trainer)
    core.add_special_tokens(["<|a|>"])
    core.add_tokens(["    ", "<|a", "return"])
    return core


def _read(core: Tokenizer) -> int:
    vocabulary = read_vocabulary(core)
    viability = viability_of(vocabulary)
    count = 0
    for text in _texts():
        normal = core.normalizer.normalize_str(text) if core.normalizer is not None else text
        ids = core.encode(normal.replace(MARK, " "), add_special_tokens=False).ids
        assert viability.complete(viability.read(ids))
        count += len(ids)
    return count


@pytest.mark.parametrize("cutter", list(CUTTERS))
def test_trained_byte_level(cutter):
    if "prefix" in cutter:
        with pytest.raises(ValueError, match="begins with a space"):
            _read(_trained(cutter))
    else:
        assert _read(_trained(cutter, ignore_merges=cutter == "llama3")) > 10_000


def test_trained_with_nfc():
    core = _trained("llama3")
    core.normalizer = normalizers.NFC()
    assert _read(core) > 10_000


def test_trained_with_byte_fallback():
    core = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    core.normalizer = normalizers.Replace(" ", MARK)
    alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=["<unk>", *alphabet], limit_alphabet=60, show_progress=False
    )
    core.train_from_iterator(_texts()[:2], trainer)
    spec = json.loads(core.to_str())
    spec["added_tokens"] = spec["added_tokens"][:1]  # the bytes are tokens of the model, not added ones
    core = Tokenizer.from_str(json.dumps(spec))
    core.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    assert _read(core) > 10_000


@pytest.mark.long
@pytest.mark.parametrize("name", [f"{name}-tokenizer" for name in SAMPLES] + ["smollm2-135m"])
def test_real_tokenizers(name):
    script = ROOT / "scripts" / "fuzz_viability.py"
    command = [sys.executable, str(script), "--tokenizer", name, "--bytes", "200000", "--soundness", "3"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "accepted" in done.stdout
    assert "finished as encodings" in done.stdout
