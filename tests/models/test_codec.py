"""What every codec keeps to, whatever its modality: a family adds a maker to the list."""

import copy
import json
import multiprocessing
import os
import socket

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import AutoConfig, AutoModel

from hf_tokext import CodecError, DepthCodecConfig, DepthCodecModel, ImageCodecConfig, ImageCodecModel, QuantizerError
from hf_tokext.quantizers import Quantizer
from tests.models.image_codec.conftest import OPTIONS, SIZES
from tests.models.speech_codec.small import HOP, sounds
from tests.models.speech_codec.small import small as small_speech

KINDS = ("vq", "rvq", "fsq", "lfq", "gaussian", "none")


def image(quantizer):
    """A codec, and values [8, ...] for it."""
    torch.manual_seed(0)
    model = ImageCodecModel(ImageCodecConfig(**SIZES, quantizer=quantizer, quantizer_options=OPTIONS[quantizer]))
    return model, torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def sound(quantizer):
    """A codec, and values [8, ...] for it."""
    weights = {"wave_weight": 1.0, "noise_weight": 0.1, "mel_weight": 0.1}
    return small_speech(quantizer, OPTIONS[quantizer], **weights), 5 * sounds(8, 12 * HOP)[:, None]


def depth(quantizer):
    """A codec, and values [8, ...] for it."""
    torch.manual_seed(0)
    sizes = {"image_size": 16, "hidden_sizes": [8, 8], "latent_dim": 16}
    model = DepthCodecModel(DepthCodecConfig(**sizes, quantizer=quantizer, quantizer_options=OPTIONS[quantizer]))
    return model, torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(1))


MAKERS = [image, sound, depth]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def make(request):
    return request.param


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def steps(model, values, count=3):
    """Learn a little; the losses."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    found = []
    for _ in range(count):
        loss = model.train()(**{model.main_input_name: values}).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def test_train_and_eval_mode_are_equal_after_reload(make, kind, tmp_path):
    """Of a codec that has learned: the step after the reload is the one that would have followed."""
    model, values = make(kind)
    steps(model, values)
    model.save_pretrained(tmp_path)
    again, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(again) is type(model) and type(AutoConfig.from_pretrained(tmp_path)) is type(model.config)
    assert not any(info[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    named = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert named.pop("AutoConfig") == f"hf_tokext_auto.{type(model.config).__name__}"
    assert "AutoModel" in named and set(named.values()) == {f"hf_tokext_auto.{type(model).__name__}"}
    with torch.no_grad():
        first, second = (each.eval()(**{model.main_input_name: values}) for each in (model, again))
    assert torch.equal(first.reconstruction, second.reconstruction) and torch.equal(first.loss, second.loss)
    assert model.is_continuous or torch.equal(first.codes, second.codes)
    torch.manual_seed(3)
    expected = steps(model, values)
    torch.manual_seed(3)
    assert steps(again, values) == expected
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_codes_come_back_as_what_forward_gives(make, kind):
    model, values = make(kind)
    steps(model, values)
    model.eval()
    with torch.no_grad():
        expected = model(**{model.main_input_name: values})
        encoding = model.encode(values)
        assert encoding.mask.shape == encoding.latents.shape[:2] and encoding.mask.dtype == torch.bool
        torch.testing.assert_close(model.decode_latents(encoding.latents, encoding.mask), expected.reconstruction)
        if model.is_continuous:
            assert encoding.codes is None and model.bits_per_step == 0
            with pytest.raises(CodecError, match="continuous"):
                model.decode(torch.zeros(1, 1, 4, dtype=torch.long))
            return
        assert encoding.codes.shape == (8, len(model.codebook_sizes), encoding.mask.shape[1])
        assert torch.equal(encoding.codes, expected.codes) and encoding.codes.dtype == torch.int64
        torch.testing.assert_close(model.decode(encoding.codes, encoding.mask), expected.reconstruction)
        torch.testing.assert_close(model.decode(encoding.codes.int()), expected.reconstruction)


@pytest.mark.parametrize("kind", ["vq", "rvq"], indirect=True)
def test_checkpointing_changes_nothing_and_codes_learn_once(make, kind):
    model, values = make(kind)
    other = copy.deepcopy(model)
    other.activation_checkpointing_enable()
    passes = []
    for layer in other.modules():
        if getattr(layer, "gradient_checkpointing", False):
            next(layer.children()).register_forward_pre_hook(lambda *_: passes.append(1))
    assert steps(other, values) == pytest.approx(steps(model, values), rel=1e-6)
    assert len(passes) > 3 and len(passes) % 6 == 0  # every layer twice a step
    for name, value in other.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], msg=name)
    batches = [value for name, value in other.state_dict().items() if name.endswith("batches")]
    assert batches and all(int(value) == 3 for value in batches)


@pytest.mark.parametrize("kind", ["vq", "fsq"], indirect=True)
def test_bfloat16_leaves_the_quantizer_alone(make, kind, tmp_path):
    model, values = make(kind)
    steps(model, values)
    model.save_pretrained(tmp_path)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    cast = copy.deepcopy(model).to(torch.bfloat16).eval()
    for each in (half, cast):
        assert each.dtype == torch.bfloat16
        state = each.quantizer.state_dict()
        assert all(torch.equal(value, model.quantizer.state_dict()[name]) for name, value in state.items())
        encoding = each.encode(values)
        assert each.decode(encoding.codes).dtype == torch.bfloat16
        assert (encoding.codes == model.eval().encode(values).codes).float().mean() > 0.85
    loss = half.train()(**{half.main_input_name: values.bfloat16()}).loss
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("kind", ["vq"], indirect=True)
def test_device_map_and_layers_on_disk(make, kind, tmp_path):
    model, values = make(kind)
    steps(model, values)
    model.save_pretrained(tmp_path)
    size = sum(each.numel() * each.element_size() for each in model.state_dict().values())
    placed = AutoModel.from_pretrained(
        tmp_path, device_map="auto", max_memory={"cpu": int(0.7 * size)}, offload_folder=str(tmp_path / "disk")
    ).eval()
    assert "disk" in placed.hf_device_map.values() and len(set(placed.hf_device_map.values())) > 1
    with torch.no_grad():
        found = placed(**{model.main_input_name: values})
        assert torch.equal(found.reconstruction, model.eval()(**{model.main_input_name: values}).reconstruction)


@pytest.mark.parametrize("kind", ["rvq"], indirect=True)
def test_bad_codes_and_values_are_refused(make, kind):
    model, values = make(kind)
    codes = model.eval().encode(values).codes
    assert model.decode(codes[:, :1]).shape == values.shape  # the first codebooks alone are a coarser answer
    for wrong in (codes + model.codebook_sizes[0], codes - 100):
        with pytest.raises(CodecError, match="codebook 0 has the codes 0 to"):
            model.decode(wrong)
    for wrong in (codes[0], torch.cat([codes, codes], 1)):
        with pytest.raises(CodecError, match=r"codes must have the shape \[batch, 3, time\]"):
            model.decode(wrong)
    for bad in (torch.nan, torch.inf):
        broken = values.clone()
        broken[0, ..., 0] = bad
        with pytest.raises(QuantizerError, match="NaN or infinity"):
            model.encode(broken)
        with pytest.raises(QuantizerError, match="NaN or infinity"):
            model.train()(**{model.main_input_name: broken})


@pytest.mark.parametrize("kind", ["vq"], indirect=True)
def test_codes_are_integers(make, kind):
    model, values = make(kind)
    codes = model.eval().encode(values).codes
    for wrong in (codes.float(), codes > 0, codes.tolist()):
        with pytest.raises(CodecError, match="tensor of integers"):
            model.decode(wrong)


@pytest.mark.parametrize("kind", ["vq", "fsq"], indirect=True)
def test_under_autocast_the_quantizer_and_losses_keep_their_digits(make, kind):
    model, values = make(kind)
    steps(model, values)
    before = model.eval()(**{model.main_input_name: values})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(**{model.main_input_name: values})
        assert found.loss.dtype == torch.float32
        torch.testing.assert_close(found.loss, before.loss, rtol=0.05, atol=0.01)
        assert (found.codes == before.codes).float().mean() > 0.85
        model.train()(**{model.main_input_name: values}).loss.backward()
    assert all(torch.isfinite(each.grad).all() for each in model.parameters() if each.grad is not None)
    assert all(each.dtype in (torch.float32, torch.int64) for each in model.quantizer.state_dict().values())


def test_a_new_codec_on_the_meta_device_becomes_whole(make, tmp_path):
    """Nothing is computed when the layers are made: transformers makes them without memory and fills them in."""
    for kind in OPTIONS:
        model, _ = make(kind)
        with torch.device("meta"):
            empty = type(model)(model.config)
        assert all(each.is_meta for each in empty.state_dict().values())
        model.save_pretrained(tmp_path / kind)
        whole = type(model).from_pretrained(tmp_path / kind)
        assert isinstance(whole.quantizer, Quantizer)
        assert not any(each.is_meta for each in (*whole.parameters(), *whole.buffers()))


SETTINGS = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"}


def _learn(rank, port, make, kind, folder):
    """What one of two processes does, of eight values four."""
    torch.set_num_threads(1)
    os.environ |= SETTINGS | {"MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ |= {"LOCAL_WORLD_SIZE": "2"}
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    model, values = make(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    for _ in range(3):
        accelerator.backward(prepared.train()(**{model.main_input_name: values[rank * 4 : rank * 4 + 4]}).loss)
        optimizer.step()
        optimizer.zero_grad()
    torch.save(accelerator.unwrap_model(prepared).state_dict(), folder / f"{rank}.pt")


@pytest.mark.parametrize("kind", ["vq", "fsq"], indirect=True)
def test_two_processes_learn_one_codec(make, kind, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_learn, args=(rank, port, make, kind, tmp_path)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())
    model, values = make(kind)
    before = copy.deepcopy(model.state_dict())
    assert any(not torch.equal(value, before[name]) for name, value in one.items())
    if kind == "fsq":  # of which nothing but gradients learns, so that two halves are as good as a whole
        steps(model, values)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(one[name], value, atol=1e-5, rtol=1e-4, msg=name)
