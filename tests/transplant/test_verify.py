"""Finished folders that are not what they claim are refused, however the model is run for the proof."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from hf_tokext.errors import VerificationError
from hf_tokext.transplant import transplant_checkpoint, verify
from hf_tokext.transplant.plan import make_plan
from hf_tokext.transplant.verify import verify_checkpoint
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.tiny_models import tiny_folder
from tests.tokenizers import byte_level

OTHER = "a wholly different text about rivers, boats and bridges; rivers and boats again, under bridges " * 4


def finished(folder, dtype, scale=1.0, at="model.norm.weight"):
    """A checkpoint one of whose weights is multiplied in what it is stored in."""
    tokenizer = byte_level(300)
    tiny_folder("llama", folder, vocab_size=len(tokenizer), dtype=dtype)
    tokenizer.save_pretrained(folder)
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights[at] = (weights[at].float() * scale).to(dtype)
    save_file(weights, file, {"format": "pt"})
    return folder


def proofs(folder, dtype):
    vocabulary = read_vocabulary(folder)
    plan = make_plan(vocabulary, vocabulary, base_rows=len(vocabulary))
    return verify_checkpoint(folder, folder, plan, tied=False, dtype=dtype)


def passes(folder, dtype):
    try:
        return "finite at" in proofs(folder, dtype)["logits"]
    except VerificationError as error:
        assert "not finite" in str(error)
        return False


@pytest.mark.parametrize(
    "at", ["model.norm.weight", "model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight"]
)
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e18, 1e30, 1e38, 3e38, float("inf"), float("nan")])
def test_a_bfloat16_model_is_finite_in_float32_where_it_is_in_bfloat16(tmp_path, scale, at):
    """Both have 8 bits of exponent; of float32's finite numbers bfloat16 lacks but the last 0.4 %."""
    folder = finished(tmp_path, torch.bfloat16, scale, at)
    as_stored = passes(folder, None)
    assert passes(folder, torch.float32) == as_stored
    assert as_stored or scale != 1.0
    assert not as_stored or scale == scale != float("inf")


def test_a_float16_model_is_run_in_float16(tmp_path):
    """Its greatest number is 65,504: float32 would call finite what is not."""
    folder = finished(tmp_path, torch.float16, 6e4)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert model(torch.tensor([[5, 6, 7]])).logits.isfinite().all()
    assert not passes(folder, None) and not passes(folder, torch.float32)


@pytest.fixture
def ran(monkeypatch):
    """What every model that is proved has its weights in."""
    dtypes, prove = [], verify.prove_model

    def noting(model, *args, **options):
        dtypes.append({weight.dtype for weight in model.parameters()})
        return prove(model, *args, **options)

    monkeypatch.setattr(verify, "prove_model", noting)
    return dtypes


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator runs halves as stored")
@pytest.mark.parametrize(
    ("stored", "dtype", "calibrate", "run_in"),
    [
        (torch.bfloat16, None, True, torch.float32),
        (torch.bfloat16, None, False, torch.bfloat16),  # nobody said that there is room
        (torch.float16, None, True, torch.float16),
        (torch.bfloat16, torch.float16, True, torch.float16),
        (torch.float16, torch.bfloat16, True, torch.float32),
        (torch.float32, torch.bfloat16, True, torch.float32),
    ],
)
def test_what_a_result_is_run_in_and_what_that_costs(tmp_path, ran, stored, dtype, calibrate, run_in):
    base, donor, options = finished(tmp_path / "base", stored), byte_level(310, text=OTHER), {"calibrate": calibrate}
    transplant_checkpoint(base, donor, tmp_path / "out", dtype=dtype, **options)
    assert ran == [{run_in}]
    dry = transplant_checkpoint(base, donor, tmp_path / "dry", dtype=dtype, dry_run=True, **options).cost
    as_it_is_run = transplant_checkpoint(base, donor, tmp_path / "dry", dtype=run_in, dry_run=True, **options).cost
    assert dry.proof == as_it_is_run.proof
    assert as_it_is_run.written == sum(p.numel() for p in reloaded(tmp_path / "out", run_in)) * run_in.itemsize


def reloaded(folder, dtype):
    """All that is stored, as it is held by whoever runs it."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=dtype).parameters()


def test_a_result_that_overflows_in_what_it_is_stored_in_is_not_kept(tmp_path):
    base = finished(tmp_path / "base", torch.bfloat16, 6e4)  # its weights fit into float16, its logits do not
    with pytest.raises(VerificationError, match="not finite"):
        transplant_checkpoint(base, byte_level(310, text=OTHER), tmp_path / "out", dtype=torch.float16)
    assert not (tmp_path / "out").exists()
