"""What holds for every quantizer."""

import pytest
import torch

from hf_tokext.errors import QuantizerError
from hf_tokext.quantizers import QUANTIZERS, make_quantizer
from tests.quantizers.conftest import DIM, DISCRETE, KINDS, Holder, HolderConfig, quantizer, vectors


def trained(kind, rounds=3):
    made = quantizer(kind).train()
    for seed in range(rounds):
        made(vectors(seed=seed))
    return made


def test_every_name_is_tested():
    assert {name for name, _ in KINDS.values()} == set(QUANTIZERS)


@pytest.mark.parametrize("kind", DISCRETE)
def test_codes_come_back(kind):
    made = trained(kind).eval()
    values = vectors(seed=9)
    out = made(values)
    codes = made.encode(values)
    assert codes.dtype == torch.int64 and codes.shape == (2, made.codebooks, 50)
    assert torch.equal(codes, out.codes)
    torch.testing.assert_close(made.decode(codes), out.quantized)
    for number, size in enumerate(made.sizes):
        assert int(codes[:, number].min()) >= 0 and int(codes[:, number].max()) < size
    assert len(codes.unique()) > 2


@pytest.mark.parametrize("kind", ["vq", "vq-learned", "pq", "fsq", "lfq", "bsq", "simvq"])
def test_codes_of_decoded_vectors_are_the_same(kind):
    """On the vectors inside; sums of vectors and an inner product need not give a code back."""
    made = trained(kind).eval()
    codes = made.encode(vectors(seed=9)).transpose(1, 2).reshape(-1, made.codebooks)
    vector = made._vectors(codes)
    again = made._codes(torch.atanh(vector * 0.999) if kind == "fsq" else vector)
    if kind == "fsq":  # decoded numbers are on the scale of the levels, and bounded once more when encoded
        again = made._index((vector * made._halves(vector)).round())[:, None]
    torch.testing.assert_close(made._vectors(again), vector)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_input(kind):
    made = quantizer(kind).train()
    values = vectors().requires_grad_()
    out = made(values)
    (out.quantized.square().sum() + out.loss).backward()
    assert values.grad is not None and torch.isfinite(values.grad).all()
    assert float(values.grad.abs().sum()) > 0
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize("kind", ["vq", "vq-learned", "rvq", "pq", "additive", "simvq"])
def test_gradients_pass_straight_through(kind):
    made = trained(kind).eval()
    values = vectors(seed=4).requires_grad_()
    weight = vectors(seed=5)
    (made(values).quantized * weight).sum().backward()
    torch.testing.assert_close(values.grad, weight)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_vectors_take_no_part(kind):
    """What stands there changes neither codes, losses nor what is learned."""
    mask = torch.ones(2, 50, dtype=torch.bool)
    mask[0, 40:] = mask[1, :5] = False
    found = []
    for filling in (0.0, 1e6):
        made = quantizer(kind).train()
        torch.manual_seed(1)
        values = vectors()
        values[~mask] = filling
        outs = [made(values, mask) for _ in range(2)]
        found.append((outs[1], dict(made.named_buffers())))
    (one, buffers), (other, others) = found
    assert torch.equal(one.quantized, other.quantized) and torch.equal(one.loss, other.loss)
    assert not one.quantized[~mask].any()
    if one.codes is not None:
        assert torch.equal(one.codes, other.codes) and not one.codes.transpose(1, 2)[~mask].any()
    assert all(torch.equal(buffers[name], others[name]) for name in buffers)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_quantize_is_no_error(kind):
    made = trained(kind)
    out = made(vectors(), torch.zeros(2, 50, dtype=torch.bool))
    assert not out.quantized.any() and torch.isfinite(out.loss)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_goes_on_as_it_would_have(kind, training, tmp_path):
    """The loss in training mode too, and what is learned from it: where the popular library gives garbage."""
    model = Holder(HolderConfig(kind=kind)).train()
    for seed in range(3):
        model(vectors(seed=seed))
    model.save_pretrained(tmp_path)
    again = Holder.from_pretrained(tmp_path).train(training)
    model.train(training)
    for seed in (7, 8):
        torch.manual_seed(seed)
        one = model(vectors(seed=seed))
        torch.manual_seed(seed)
        other = again(vectors(seed=seed))
        assert torch.equal(one.loss, other.loss) and torch.equal(one.quantized, other.quantized)
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", DISCRETE)
def test_half_precision_gives_the_same_codes(kind, tmp_path):
    """Loaded or cast afterwards: the quantizer stays in float32."""
    model = Holder(HolderConfig(kind=kind)).train()
    for seed in range(3):
        model(vectors(seed=seed))
    model.save_pretrained(tmp_path)
    values = vectors(20, 100, seed=9).bfloat16()
    loaded = Holder.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    cast = Holder.from_pretrained(tmp_path).eval().to(torch.bfloat16)
    exact = model.eval().quantizer.encode(values)
    for half in (loaded, cast, cast.half()):
        assert all(tensor.dtype != torch.bfloat16 for tensor in half.quantizer.state_dict().values())
        assert half.layer.weight.dtype in (torch.bfloat16, torch.float16)
        assert torch.equal(half.quantizer.encode(values), exact)
        assert half.quantizer(values).quantized.dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.quantizer(values).codes, exact)


@pytest.mark.parametrize("kind", DISCRETE)
def test_usage_is_counted(kind):
    made = quantizer(kind).train()
    assert made.usage() == []
    codes = torch.cat([made(vectors(seed=seed)).codes for seed in range(2)])
    for number, found in enumerate(made.usage()):
        counts = torch.bincount(codes[:, number].flatten(), minlength=made.sizes[number])
        assert torch.equal(found.counts, counts)
        shares = counts[counts > 0].double() / counts.sum()
        assert found.bits == pytest.approx(float(-(shares * shares.log2()).sum()))
        assert found.perplexity == pytest.approx(2**found.bits)
        assert found.used == pytest.approx(float((counts > 0).double().mean()))
    made.reset_usage()
    assert made.usage() == []


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_input_is_refused(kind):
    made = quantizer(kind)
    with pytest.raises(QuantizerError, match=r"\[batch, time, 8\], not \[2, 50, 7\]"):
        made(vectors(dim=7))
    with pytest.raises(QuantizerError, match="mask must be bool"):
        made(vectors(), torch.ones(2, 50))
    broken = vectors()
    broken[1, 3, 2] = float("nan")
    with pytest.raises(QuantizerError, match="NaN or infinity"):
        made(broken)
    if kind not in DISCRETE:
        for call in (lambda: made.encode(vectors()), lambda: made.decode(torch.zeros(1, 1, 3, dtype=torch.long))):
            with pytest.raises(QuantizerError, match="continuous"):
                call()
        return
    codes = made.encode(vectors())
    with pytest.raises(QuantizerError, match="must have the shape"):
        made.decode(codes[:, 0])
    codes[0, 0, 0] = made.sizes[0]
    with pytest.raises(QuantizerError, match=f"codebook 0 has the codes 0 to {made.sizes[0] - 1}"):
        made.decode(codes)
    codes[0, 0, 0] = -1
    with pytest.raises(QuantizerError, match="-1 to"):
        made.decode(codes)


def test_unknown_names_and_options_are_refused():
    with pytest.raises(QuantizerError, match="unknown quantizer 'vqq'; known: vq"):
        make_quantizer("vqq", DIM)
    with pytest.raises(QuantizerError, match="vq: .*colour"):
        make_quantizer("vq", DIM, {"colour": 3})
    with pytest.raises(QuantizerError, match="must be positive"):
        make_quantizer("vq", DIM, {"size": 0})
    with pytest.raises(QuantizerError, match="do not divide"):
        make_quantizer("pq", DIM, {"codebooks": 3})
    with pytest.raises(QuantizerError, match="at least 2 levels"):
        make_quantizer("fsq", DIM, {"levels": [8, 1]})
    with pytest.raises(QuantizerError, match="1 to 62 bits"):
        make_quantizer("lfq", DIM, {"bits": 63})
