import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import linear
from transformers import AutoModelForCausalLM, LlamaConfig

from hf_tokext.models.byte_level import few_rows
from hf_tokext.models.byte_level.few_rows import ROWS, FewRows
from hf_tokext.models.byte_level.few_rows_numba import product
from tests.tiny_models import CAUSAL, TIED_BY_DEFAULT, tiny


def grouped_heads():
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=50, num_key_value_heads=2, attention_bias=True, **shape)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("rows", [1, *ROWS, 9])
@pytest.mark.parametrize("bias", [False, True])
def test_products_are_those_of_torch(rows, bias, monkeypatch):
    torch.manual_seed(0)
    model = grouped_heads()
    model.lm_head = nn.Linear(5, 7, bias)
    left = torch.randn(1, rows, 5)
    expected = model.lm_head(left)
    asked = []
    monkeypatch.setattr(few_rows, "linear", lambda *given: asked.append(1) or linear(*given))
    with FewRows(model):
        found = model.lm_head(left)
        assert model.lm_head(left.double().float()[:, :1]).shape == (1, 1, 7)
    assert found.shape == (1, rows, 7) and found.is_contiguous()
    torch.testing.assert_close(found, expected)
    assert len(asked) == (1 if rows in ROWS else 2)
    asked.clear()
    model.lm_head(left)
    assert not asked  # the layer is as it was


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", ROWS)
def test_compiled_products_are_those_of_float64(rows, threads):
    generator = torch.Generator().manual_seed(rows)
    weight, given = torch.randn(37, 53, generator=generator), torch.randn(rows, 53, generator=generator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = product(weight, given)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, (given.double() @ weight.double().t()).float(), atol=1e-5, rtol=1e-5)
    weight[3, 5] = float("inf")
    assert product(weight, given)[:, 3].isinf().all()


def test_without_numba_the_product_is_torch_own(monkeypatch):
    monkeypatch.setitem(sys.modules, "hf_tokext.models.byte_level.few_rows_numba", None)
    few_rows._fastest.cache_clear()
    monkeypatch.setattr(few_rows, "_turned", lambda weight, rows: rows @ weight.t())
    try:
        with pytest.raises(ModuleNotFoundError, match="few_rows_numba"):  # only a missing numba is passed over
            few_rows._fastest()
        monkeypatch.delitem(sys.modules, "hf_tokext.models.byte_level.few_rows_numba")
        monkeypatch.setitem(sys.modules, "numba", None)
        assert few_rows._fastest() is few_rows._turned
    finally:
        few_rows._fastest.cache_clear()


def test_the_compiled_product_is_for_inference_only():
    model = grouped_heads()
    ids = torch.tensor([[3, 5, 7]])
    with FewRows(model):
        model(ids, labels=ids).loss.backward()
    assert model.lm_head.weight.grad.abs().sum() > 0


def test_layers_that_something_else_has_a_hand_in_are_left_alone():
    model = grouped_heads()
    own = model.lm_head.forward
    model.lm_head.forward = lambda rows: own(rows) + 1
    ids = torch.tensor([[3, 5, 7]])
    with torch.no_grad():
        plain = model(ids).logits
        with FewRows(model):
            found = model(ids).logits
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model(ids).logits, plain)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("name", [*CAUSAL, "grouped"])
def test_models_give_what_they_gave(name, fast, monkeypatch):
    if not fast:
        monkeypatch.setattr(few_rows, "_fastest", lambda: few_rows._turned)
    model = (grouped_heads() if name == "grouped" else tiny(name, tied=TIED_BY_DEFAULT[name], vocab_size=50)).eval()
    ids = torch.tensor([[3, 5, 7, 9, 11]])
    mask = torch.full((1, 1, 5, 5), torch.finfo(torch.float32).min).triu(1)
    mask[0, 0, 4, 2] = torch.finfo(torch.float32).min  # no causal mask
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    with torch.no_grad():
        plain = model(**given).logits
        with FewRows(model):
            found = model(**given).logits
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-4)


def test_key_heads_are_not_repeated(monkeypatch):
    """The whole point; and what the model was set to comes back, after an error too."""
    from transformers.integrations import sdpa_attention

    model, asked = grouped_heads(), []
    monkeypatch.setattr(sdpa_attention, "repeat_kv", lambda *given: asked.append(given))
    ids, mask = torch.tensor([[1, 2, 3]]), torch.zeros(1, 1, 3, 3)
    with torch.no_grad(), FewRows(model):
        model(input_ids=ids, attention_mask=mask, use_cache=False)
    assert not asked
    assert model.config._attn_implementation == "sdpa"
    with pytest.raises(ZeroDivisionError), FewRows(model):
        raise ZeroDivisionError
    assert model.config._attn_implementation == "sdpa"


def test_another_attention_is_left_alone():
    model = grouped_heads()
    model.set_attn_implementation("eager")
    with FewRows(model):
        assert model.config._attn_implementation == "eager"
