"""On a GPU: what the CPU says, and in bfloat16 and TF32 what they allow. Without a GPU nothing here runs."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from hf_tokext import byteify, score_bytes
from hf_tokext.quantizers.search import nearest
from tests.models.byte_level import byte_view_tokenizers as small
from tests.models.byte_level.enumeration import Enumeration, tiny_llama
from tests.models.test_codec import MAKERS, steps
from tests.quantizers.test_search import brute
from tests.quantizers.test_search import made as vectors
from tests.training.test_codec import folder_of, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
TOKENIZERS = [small.plain, small.fallback, small.unigram, small.wordpiece]


@pytest.fixture(params=TOKENIZERS, ids=lambda make: make.__name__)
def byteified(request, tmp_path):
    """A byte view of a small model, a batch, and the folder that it lies in."""
    tokenizer = request.param()
    model, byte_tokenizer = byteify(tiny_llama(len(tokenizer)), tokenizer, tolerance=0)
    model.save_pretrained(tmp_path)
    byte_tokenizer.save_pretrained(tmp_path)
    return model, byte_tokenizer(["ab", "a", "abba"], return_tensors="pt", padding=True, padding_side="left"), tmp_path


@pytest.mark.parametrize("measure", ["all_strings", "canonical"])
def test_bytes(byteified, measure):
    model, batch, folder = byteified
    there = AutoModelForCausalLM.from_pretrained(folder, device_map="auto", dtype="float64", measure=measure)
    here = AutoModelForCausalLM.from_pretrained(folder, dtype="float64", measure=measure)
    assert there.device.type == "cuda" and here.device.type == "cpu"
    expected = here(**batch).logits
    found = there(**batch.to("cuda")).logits.cpu()  # angles of places are float32, whatever the dtype
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert AutoTokenizer.from_pretrained(folder).decode(batch.input_ids[2]).endswith("abba")
    for options in ({}, {"num_beams": 3}):
        found = [each.generate(**batch.to(each.device), max_new_tokens=6, **options).cpu() for each in (there, here)]
        assert torch.equal(*found)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_in_less_precision(dtype, implementation):
    """Each dtype's own model, enumerated token string by token string on the same device."""
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer), attn_implementation=implementation).to("cuda", dtype)
    view, byte_tokenizer = byteify(model, tokenizer, tolerance=0)
    found = view(**byte_tokenizer("abca", return_tensors="pt").to("cuda")).logits[0].double()
    assert torch.allclose(found.exp().sum(1), torch.ones(4, dtype=torch.float64, device="cuda"), atol=1e-5)
    exact = Enumeration(model.cpu(), tokenizer, (tokenizer.bos_token_id,), False)
    events = np.stack([exact.events(b"abca"[:at])[:256] for at in range(1, 5)])
    np.testing.assert_allclose(found[:, :256].exp().cpu(), events, atol=1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_bytes(dtype):
    """One packed pass equals byte after byte on the same device."""
    tokenizer = small.plain()
    model = tiny_llama(len(tokenizer)).to("cuda", dtype)
    view, byte_tokenizer = byteify(model, tokenizer, tolerance=0)
    (score,) = score_bytes(model, ["abcaabca"], tokenizer=tokenizer, tolerance=0)
    ids = byte_tokenizer("abcaabca", return_tensors="pt").input_ids.to("cuda")
    rows = view(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
    one_by_one = rows.gather(1, ids[0, 1:, None])[:, 0].cpu().numpy()
    np.testing.assert_allclose(
        score.log_probabilities[-len(one_by_one) :], one_by_one, atol=1e-4 if dtype == torch.float32 else 0.3
    )


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("by", ["distance", "product"])
def test_nearest_codes_are_those_of_float64(by, precision):
    values, codes = vectors(20_000, 500, 16, offset=3.0)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        assert torch.equal(nearest(values.cuda(), codes.cuda(), by).cpu(), brute(values, codes, by))
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("kind", ["vq", "rvq", "fsq", "lfq"])
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_codecs(make, kind, tmp_path):
    """Codes of the CPU, but where rounding decides; what is decoded is the same to rounding; it learns there."""
    model, values = make(kind)
    steps(model, values)
    model.save_pretrained(tmp_path)
    there = AutoModel.from_pretrained(tmp_path, device_map="auto").eval()
    assert there.device.type == "cuda"
    with torch.no_grad():
        codes = model.eval().encode(values).codes
        found = there.encode(values.cuda()).codes
        assert (found.cpu() == codes).double().mean() >= 0.999
        torch.testing.assert_close(there.decode(codes.cuda()).cpu(), model.decode(codes), rtol=1e-3, atol=1e-4)
    losses = steps(there, values.cuda(), 10)
    assert losses[-1] < losses[0] and all(np.isfinite(losses))
    half = AutoModel.from_pretrained(tmp_path, device_map="auto", dtype="bfloat16").eval()
    with torch.no_grad():
        assert torch.isfinite(half(**{half.main_input_name: values.cuda().bfloat16()}).reconstruction.float()).all()


@pytest.mark.parametrize("kind", ["image", "audio", "depth"])
def test_a_codec_is_trained_from_a_folder(kind, tmp_path):
    output, report = train(kind, folder_of(kind, tmp_path / "data"), tmp_path / "codec")
    assert np.isfinite([*(loss for _, loss in report.losses), *report.quality.values()]).all()
    assert AutoModel.from_pretrained(output, device_map="auto").device.type == "cuda"
