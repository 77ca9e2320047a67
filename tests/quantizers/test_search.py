import pytest
import torch

from hf_tokext.quantizers import search
from hf_tokext.quantizers.search import nearest


def brute(values, codes, by):
    values, codes = values.double(), codes.double()
    scores = values @ codes.t() if by == "product" else -(values[:, None] - codes[None]).square().sum(-1)
    return scores.argmax(1)


def made(count, size, dim, seed=0, offset=0.0):
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=chance) + offset, torch.randn(size, dim, generator=chance) + offset


@pytest.mark.parametrize("by", ["distance", "product"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize(("size", "dim"), [(1, 4), (2, 1), (500, 2), (300, 64)])
def test_equals_a_search_in_float64(by, offset, size, dim):
    values, codes = made(2_000, size, dim, offset=offset)
    assert torch.equal(nearest(values, codes, by), brute(values, codes, by))


def test_close_calls_are_those_of_float64():
    """Pairs of codes so close that float32 scores cannot tell them apart."""
    values, codes = made(500, 50, 16, offset=30.0)
    codes = torch.cat([codes, codes + 1e-5 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(1))])
    rounded = (values @ codes.t() - codes.square().sum(1) / 2).argmax(1)
    exact = brute(values, codes, "distance")
    assert not torch.equal(rounded, exact)  # or this would test nothing
    assert torch.equal(nearest(values, codes), exact)


def test_of_equal_codes_the_first():
    values, codes = made(100, 20, 8)
    assert torch.equal(nearest(values, torch.cat([codes, codes, codes])), nearest(values, codes))


def test_chunks_change_nothing(monkeypatch):
    values, codes = made(1_000, 64, 8)
    whole = nearest(values, codes)
    monkeypatch.setattr(search, "AT_ONCE", 100)
    assert torch.equal(nearest(values, codes), whole)
    assert nearest(values[:0], codes).shape == (0,)


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 10), ("bf16", 7)])
def test_products_that_torch_may_round_change_nothing(precision, bits, monkeypatch):
    """`TrainingArguments(tf32=True)` and torch's precision of matrix products, as a GPU would take them."""

    def coarse(values):
        fraction, exponent = torch.frexp(values)
        return torch.ldexp((fraction * 2 ** (bits + 1)).round() / 2 ** (bits + 1), exponent)

    def product(start, left, right, *, beta, out):
        return out.copy_(beta * start + coarse(left) @ coarse(right))

    values, codes = made(5_000, 300, 16, offset=3.0)
    exact = brute(values, codes, "distance")
    monkeypatch.setattr(torch, "addmm", product)
    assert not torch.equal(nearest(values, codes), exact)  # or this would test nothing
    before = torch.backends.mkldnn.matmul.fp32_precision
    torch.backends.mkldnn.matmul.fp32_precision = precision
    try:
        assert torch.equal(nearest(values, codes), exact)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
