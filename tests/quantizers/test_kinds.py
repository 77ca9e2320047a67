"""What is said of each kind of quantizer in its paper."""

from itertools import product

import numpy as np
import pytest
import torch

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers import BSQ, FSQ, IBQ, LFQ, AdditiveQuantizer, AnchorTable, Gaussian, ResidualQuantizer, SimVQ
from hf_tokext.quantizers.binary import _entropy
from tests.quantizers.conftest import quantizer, vectors


def error(made, values, codes) -> float:
    return float((made.decode(codes) - values).square().mean())


def test_residual_error_falls_with_every_codebook():
    made = ResidualQuantizer(8, size=16, codebooks=4).train()
    for seed in range(20):
        made(vectors(4, 100, seed=seed))
    values = vectors(4, 100, seed=99)
    codes = made.eval().encode(values)
    errors = [error(made, values, codes[:, :depth]) for depth in range(1, 5)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.7 * errors[0]


def test_residual_dropout_trains_the_first_codebooks_more():
    made = ResidualQuantizer(8, size=16, codebooks=4, dropout=1.0).train()
    for seed in range(40):
        made(vectors(seed=seed))
    seen = [int(step.batches) for step in made.steps]
    assert seen[0] == 40 and seen == sorted(seen, reverse=True) and 0 < seen[-1] < 30


def test_additive_is_never_worse_than_greedy_with_the_same_codebooks():
    greedy = ResidualQuantizer(8, size=16, codebooks=3).train()
    for seed in range(10):
        greedy(vectors(4, 100, seed=seed))
    additive = AdditiveQuantizer(8, size=16, codebooks=3, beams=4)
    for term, step in zip(additive.terms, greedy.steps, strict=True):
        term.load_state_dict(step.state_dict())
    values = vectors(4, 100, seed=99)
    each = [(made.eval().decode(made.encode(values)) - values).square().sum(-1) for made in (additive, greedy)]
    assert bool((each[0] <= each[1] + 1e-5).all())
    assert float(each[0].mean()) < 0.97 * float(each[1].mean())


def test_additive_finds_the_best_of_all_sums():
    """With as many beams as there are sums."""
    made = AdditiveQuantizer(4, size=5, codebooks=3, beams=125).eval()
    values = vectors(1, 30, dim=4)
    tables = [term.weight for term in made.terms]
    sums = torch.stack([a + b + c for a, b, c in product(*tables)])
    best = torch.cdist(values[0].double(), sums.double()).amin(1)
    found = (made.decode(made.encode(values))[0] - values[0]).double().norm(dim=1)
    torch.testing.assert_close(found, best, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (2,), (3, 4), (2, 2, 2, 2)])
def test_fsq_reaches_every_level(levels):
    made = FSQ(len(levels), levels).eval()
    assert made.sizes == (int(np.prod(levels)),)
    every = torch.arange(made.sizes[0])[None, None]
    decoded = made.decode(every)
    for number, level in enumerate(levels):
        assert decoded[..., number].unique().numel() == level and float(decoded.abs().max()) <= 1
    size = torch.tensor(levels)
    half, offset = (size - 1) * 1.001 / 2, (1 - size % 2) / 2
    inverse = torch.atanh((decoded * (size // 2) + offset) / half) - torch.atanh(offset / half)
    assert torch.equal(made.encode(inverse), every)


def test_fsq_by_hand():
    """Bounded by tanh to a little more than the outermost level, rounded; gradient that of the tanh."""
    made = FSQ(2, (3, 5)).eval()
    values = torch.tensor([[[0.2, -1.0], [5.0, 5.0]]], requires_grad=True)
    out = made(values)
    bounded = torch.tanh(values.detach()) * torch.tensor([1.001, 2.002])
    torch.testing.assert_close(out.quantized, bounded.round() / torch.tensor([1.0, 2.0]))
    digits = bounded.round() + torch.tensor([1, 2])
    assert out.codes[0, 0].tolist() == (digits[..., 0] + 3 * digits[..., 1])[0].tolist()
    out.quantized.sum().backward()
    slope = (1 - torch.tanh(values.detach()) ** 2) * torch.tensor([1.001, 2.002]) / torch.tensor([1.0, 2.0])
    torch.testing.assert_close(values.grad, slope)


@pytest.mark.parametrize("kind", [LFQ, BSQ])
def test_entropies_are_those_of_all_codes(kind):
    """Of each vector exactly; of the batch not below the entropy of the mean over all codes."""
    made = kind(5, bits=5, temperature=0.7, commitment=0.0, entropy=1.0, diversity=1.0).train()
    values = vectors(1, 40, dim=5)
    inner = made._shaped(values[0])
    codes = made.decode(torch.arange(32)[None, None])[0]
    chances = (2 * 0.7 * inner @ codes.t()).double().softmax(1)
    exact = float(-torch.special.xlogy(chances, chances).sum(1).mean())
    logits = 4 * 0.7 * made._length() * inner
    assert float(_entropy(logits).sum(1).mean()) == pytest.approx(exact, abs=1e-5)
    mean = chances.mean(0)
    together = float(-torch.special.xlogy(mean, mean).sum())
    bits = logits.sigmoid().mean(0).double()
    bound = float(-(torch.special.xlogy(bits, bits) + torch.special.xlogy(1 - bits, 1 - bits)).sum())
    assert bound >= together - 1e-6
    assert float(made(values).losses["entropy"]) == pytest.approx(exact - bound, abs=1e-4)


def test_bsq_error_is_bounded():
    bits = 6
    made = BSQ(bits, bits=bits).eval()
    values = torch.nn.functional.normalize(vectors(4, 500, dim=bits), dim=-1)
    errors = (made(values).quantized - values).norm(dim=-1)
    assert float(errors.max()) < (2 - 2 / bits**0.5) ** 0.5
    torch.testing.assert_close(made(values).quantized.norm(dim=-1), torch.ones(4, 500))


def test_large_binary_codes_cost_nothing():
    made = LFQ(62, bits=62).train()
    out = made(vectors(2, 20, dim=62))
    assert int(out.codes.max()) < 2**62 and made.usage() == []
    torch.testing.assert_close(made.decode(out.codes), out.quantized)


def test_ibq_gives_every_code_a_gradient():
    made = IBQ(4, size=6, entropy=0.0)
    out = made(vectors(1, 3, dim=4))
    out.quantized.square().sum().backward()
    assert bool((made.weight.grad.abs().sum(1) > 0).all())


def test_simvq_moves_all_codes_and_no_table():
    made = SimVQ(4, size=32)
    before = made.table.clone()
    optimizer = torch.optim.SGD(made.parameters(), 0.5)
    codes = made.transform(made.table).detach()
    made(vectors(1, 3, dim=4)).loss.backward()
    optimizer.step()
    moved = (made.transform(made.table) - codes).abs().sum(1)
    assert bool((moved > 0).all()) and torch.equal(made.table, before)


def test_gaussian_divergence_by_hand():
    made = Gaussian(2, inner=1, divergence=2.0).eval()
    torch.nn.init.eye_(made.project_in.weight)
    torch.nn.init.zeros_(made.project_in.bias)
    mean, log_variance = 0.5, 1.0
    out = made(torch.tensor([[[mean, log_variance]]]))
    assert float(out.loss.detach()) == pytest.approx(
        2.0 * (mean**2 + np.exp(log_variance) - 1 - log_variance) / 2, rel=1e-5
    )
    drawn = [made.train()(torch.tensor([[[0.5, 1.0]]])).quantized for _ in range(2)]
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("kind", ["vq", "vq-cosine"])
def test_indices_are_those_of_the_popular_library(kind):
    library = pytest.importorskip("vector_quantize_pytorch")
    made = quantizer(kind).train()
    for seed in range(3):
        made(vectors(seed=seed))
    cosine = kind == "vq-cosine"
    other = library.VectorQuantize(made.inner, codebook_size=16, use_cosine_sim=cosine).eval()
    other._codebook.embed.data.copy_(made.codebook.vectors()[None])
    inner = made.project_in(vectors(4, 200, seed=9)).detach()
    assert torch.equal(made.eval().encode(vectors(4, 200, seed=9))[:, 0], other(inner)[1])


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 4)])
def test_fsq_codes_are_those_of_the_popular_library(levels):
    library = pytest.importorskip("vector_quantize_pytorch")
    made, other = FSQ(len(levels), levels), library.FSQ(list(levels))
    values = vectors(4, 200, dim=len(levels))
    quantized, index = other(values)
    out = made.eval()(values)
    assert torch.equal(out.codes[:, 0], index.long())
    torch.testing.assert_close(out.quantized, quantized)


def path(nodes: int) -> list[tuple[int, int, int]]:
    return [(node, node % 2, node + 1) for node in range(nodes - 1)]


def test_anchors_of_a_path():
    table = AnchorTable(path(9), nodes=9, anchors=3, nearest=2, relations=2, seed=1)
    found = table.tokens()
    for node in range(9):
        distances = np.abs(table.anchors - node)
        assert found.distances[node].tolist() == sorted(distances)[:2]
        assert [distances[number] for number in found.anchors[node]] == found.distances[node].tolist()
    assert found.relations[0].tolist() == [0, -1] and set(found.relations[4]) == {0, 1}
    again = AnchorTable(path(9), nodes=9, anchors=3, nearest=2, relations=2, seed=1)
    assert np.array_equal(again.anchors, table.anchors)


def test_nodes_that_no_anchor_reaches():
    table = AnchorTable([(0, 0, 1), (2, 1, 3)], nodes=5, anchors=1, nearest=2)
    found = table.tokens()
    alone = set(range(5)) - ({0, 1} if table.anchors[0] < 2 else {2, 3} if table.anchors[0] < 4 else {4})
    assert all((found.anchors[node] == -1).all() and (found.distances[node] == -1).all() for node in alone)


def test_wrong_graphs_are_refused():
    for edges, message in (
        (np.zeros((0, 3), int), "shape"), ([(0, 1)], "shape"), ([(0.5, 1, 2)], "integers"), ([(0, 0, 9)], "0 to 4"),
    ):  # fmt: skip
        with pytest.raises(QuantizerError, match=message):
            AnchorTable(edges, nodes=5, anchors=1)
    with pytest.raises(QuantizerError, match="cannot be anchors"):
        AnchorTable([(0, 0, 1)], nodes=5, anchors=6)
