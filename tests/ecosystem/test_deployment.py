"""What docs/deployment.md promises of transplanted checkpoints and can be seen without the tools themselves."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import ByteTokenizer, transplant_checkpoint
from hf_tokext.transplant.deployment import DIGITS, NEW, NO_MERGES, SCORES
from tests.ecosystem.checkpoints import RIVERS
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

PROMPT = "the cat sat on the"
# PEFT asks a module for a name that transformers renamed
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def base(tmp_path):
    tiny_folder("llama", tmp_path / "base", vocab_size=300, seed=1)
    byte_level(300).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def target(tmp_path):
    """A model of another vocabulary whose tables have more rows than its tokenizer has ids."""
    tokenizer = byte_level(310, text=RIVERS)
    assert len(tokenizer) < 320
    tiny_folder("qwen2", tmp_path / "target", vocab_size=320, layers=3)
    tokenizer.save_pretrained(tmp_path / "target")
    return tmp_path / "target"


def generated(folder, **options):
    model, tokenizer = loaded(folder)
    inputs = tokenizer(PROMPT, return_tensors="pt")
    return model.generate(**inputs, max_new_tokens=12, do_sample=False, pad_token_id=0, **options)


@pytest.mark.filterwarnings("ignore:Passing `generation_config` together")
def test_a_matched_draft_assists(base, target, tmp_path):
    transplant_checkpoint(base, target, tmp_path / "draft", match_rows=True, calibrate=False)
    draft, tokenizer = loaded(tmp_path / "draft")
    large, own = loaded(target)
    assert draft.config.vocab_size == large.config.vocab_size == 320
    assert tokenizer(PROMPT)["input_ids"] == own(PROMPT)["input_ids"]
    seen = []
    draft.register_forward_hook(lambda module, inputs, output: seen.append(output.logits.shape[-1]))
    assert torch.equal(generated(target, assistant_model=draft), generated(target))
    assert set(seen) == {320}


def test_a_draft_of_other_rows_is_refused_by_transformers(base, target, tmp_path):
    transplant_checkpoint(base, target, tmp_path / "draft", calibrate=False)
    draft, _ = loaded(tmp_path / "draft")
    with pytest.raises(ValueError, match="different tokenizers"):
        generated(target, assistant_model=draft)


@pytest.mark.parametrize(
    ("made", "warnings"),
    [
        ("from a donor", []),
        ("trained", [NEW]),
        ("digits", [DIGITS]),
        ("trained, digits", [NEW, DIGITS]),
        ("like Llama 2's", [SCORES]),
        ("like Llama 2's, digits", [SCORES, DIGITS]),
        ("bytes", [NO_MERGES]),
    ],
)
def test_what_llama_cpp_does_not_know_is_said(made, warnings, base, target, tmp_path):
    sentencepiece_like().save_pretrained(tmp_path / "pieces")
    trained, digits = {"train_on": [RIVERS], "vocab_size": 280}, {"digits": "right3"}
    donor, options = {
        "from a donor": (target, {}),
        "trained": (None, trained),
        "digits": (None, digits),
        "trained, digits": (None, trained | digits),
        "like Llama 2's": (tmp_path / "pieces", {}),
        "like Llama 2's, digits": (tmp_path / "pieces", digits),
        "bytes": (ByteTokenizer(), {}),
    }[made]
    report = transplant_checkpoint(base, donor, tmp_path / "out", calibrate=False, **options)
    assert [warning for warning in report.warnings if "llama.cpp" in warning] == warnings


def adapter(model, folder, **options):
    """A LoRA adapter that changes something, as if it had been trained."""
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], **options))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.1)
    adapted.save_pretrained(folder)
    return adapted


def states(model, ids):
    with torch.no_grad():
        return model.eval()(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]


def test_an_adapter_of_the_base_fits_if_it_left_the_vocabulary_alone(base, target, tmp_path):
    transplant_checkpoint(base, target, tmp_path / "out", calibrate=False)
    old, old_tokenizer = loaded(base)
    new, new_tokenizer = loaded(tmp_path / "out")
    both = old_tokenizer.get_vocab().keys() & new_tokenizer.get_vocab().keys()  # copied rows: states can be compared
    ids, new_ids = (t.convert_tokens_to_ids(sorted(both)[-40:]) for t in (old_tokenizer, new_tokenizer))
    ids, new_ids = ids + [old_tokenizer.get_vocab()["Ġb"]], new_ids + [new_tokenizer.get_vocab()["Ġb"]]
    assert ids != new_ids
    plain = states(new, new_ids)
    truth = states(adapter(old, tmp_path / "adapter"), ids)
    moved = states(PeftModel.from_pretrained(new, tmp_path / "adapter"), new_ids)
    torch.testing.assert_close(moved, truth)
    assert not torch.allclose(moved, plain, atol=1e-3)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
def test_an_adapter_that_holds_the_old_vocabulary_is_refused_by_peft(base, target, tmp_path):
    transplant_checkpoint(base, target, tmp_path / "out", calibrate=False)
    adapter(tiny("llama", vocab_size=300, seed=1), tmp_path / "adapter", modules_to_save=["embed_tokens"])
    with pytest.raises(RuntimeError, match="size mismatch"):
        PeftModel.from_pretrained(loaded(tmp_path / "out")[0], tmp_path / "adapter")
