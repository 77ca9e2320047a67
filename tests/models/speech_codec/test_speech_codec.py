"""The speech codec: shapes, padding, saving, dtypes, checkpointing, teachers, and what it refuses."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForAudioTokenization

from hf_tokext import (
    CodecError,
    QuantizerError,
    SpeechCodecConfig,
    SpeechCodecFeatureExtractor,
    SpeechCodecModel,
)
from tests.models.speech_codec.small import HOP, small, sounds


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("quantizer", ["rvq", "vq", "fsq", "bsq", "pq", "none"])
def test_there_and_back(quantizer, causal):
    model = small(quantizer, causal=causal)
    values = sounds(2, 9 * HOP - 3)
    output = model(values)
    parts = sum(output.losses.values())
    assert torch.isfinite(output.loss) and torch.allclose(output.loss, parts, atol=1e-5)
    assert output.reconstruction.shape == values.shape and output.mask.shape == (2, 9)
    output.loss.backward()
    assert all(each.grad is not None for each in model.parameters())
    model.eval()
    found = model.encode(values)
    again = model.encode(values[:, None])
    if quantizer == "none":
        assert found.codes is None and model.is_continuous
        made = model.decode_latents(found.latents)
    else:
        assert found.codes.shape == (2, len(model.codebook_sizes), 9) and torch.equal(found.codes, again.codes)
        assert found.audio_codes is found.codes and found.audio_codes_mask is found.mask
        made = model.decode(found.codes)
        assert model.bits_per_step == sum(map(math.log2, model.codebook_sizes))
    assert made.shape == (2, 1, 9 * HOP) and torch.equal(made, model.decode_latents(found.latents))
    torch.testing.assert_close(model(values).reconstruction, made[:, 0, : 9 * HOP - 3])


@pytest.mark.parametrize("lstm", [0, 2])
@pytest.mark.parametrize("causal", [True, False])
def test_a_sound_gives_in_a_batch_what_it_gives_alone(causal, lstm):
    model = small(causal=causal, lstm_layers=lstm).eval()
    alone = sounds(1, 5 * HOP + 1)
    batch = torch.cat([torch.nn.functional.pad(alone, (0, 4 * HOP - 1), value=9.0), sounds(1, 9 * HOP, seed=2)])
    mask = torch.ones(2, 9 * HOP, dtype=torch.long)
    mask[0, 5 * HOP + 1 :] = 0
    one, both = model.encode(alone), model.encode(batch, mask)
    assert both.mask.sum(1).tolist() == [6, 9]
    assert torch.equal(both.codes[:1, :, :6], one.codes) and not both.codes[0, :, 6:].any()
    made = model.decode(both.codes, both.mask)
    torch.testing.assert_close(made[:1, :, : 6 * HOP], model.decode(one.codes), atol=1e-5, rtol=1e-4)
    assert not made[0, :, 6 * HOP :].any()
    with torch.no_grad():
        output, single = model(batch, mask), model(alone)
    torch.testing.assert_close(
        output.reconstruction[:1, : 5 * HOP], single.reconstruction[:, : 5 * HOP], atol=1e-5, rtol=1e-4
    )


def test_causal_codecs_see_nothing_that_comes_later():
    values = sounds(1, 8 * HOP)
    other = values.clone()
    other[:, 4 * HOP :] = 0.5
    for causal in (True, False):
        model = small(causal=causal, lstm_layers=1).eval()
        one, two = model.encode(values).codes[..., :4], model.encode(other).codes[..., :4]
        latents = [model._encode(each, None)[0][:, :4] for each in (values, other)]
        assert torch.allclose(*latents, atol=1e-6) == causal and (not causal or torch.equal(one, two))


def test_first_codebooks_alone():
    model = small().eval()
    codes = model.encode(sounds(1, 6 * HOP)).codes
    assert model.decode(codes[:, :1]).shape == model.decode(codes).shape
    assert not torch.equal(model.decode(codes[:, :1]), model.decode(codes))


@pytest.mark.parametrize("quantizer", ["rvq", "fsq", "simvq"])
def test_saved_and_loaded(quantizer, tmp_path):
    model = small(quantizer, distill_lm_dim=5).train()
    values, taught = sounds(2, 8 * HOP), torch.randn(2, 8, 5)
    for _ in range(2):
        model(values, distill_lm=taught)  # codebooks have learned
    model.save_pretrained(tmp_path)
    SpeechCodecFeatureExtractor(sampling_rate=8000, hop_length=HOP).save_pretrained(tmp_path)
    for auto in (AutoModel, AutoModelForAudioTokenization):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is SpeechCodecModel
        for mode in (False, True):
            state = {name: each.clone() for name, each in model.state_dict().items()}
            one, two = (each.train(mode)(values, distill_lm=taught) for each in (model, again))
            assert torch.equal(one.loss, two.loss) and torch.equal(one.codes, two.codes)
            model.load_state_dict(state)
    assert type(AutoConfig.from_pretrained(tmp_path)) is SpeechCodecConfig
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(extractor) is SpeechCodecFeatureExtractor and extractor.hop_length == HOP


def test_bfloat16(tmp_path):
    model = small(lstm_layers=1).train()
    for seed in range(3):
        model(sounds(4, 20 * HOP, seed))
    model.save_pretrained(tmp_path)
    low = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert low.dtype == torch.bfloat16 and low.quantizer.steps.first.weight.dtype == torch.float32
    values = sounds(2, 20 * HOP)
    output = low.train()(values.bfloat16())
    output.loss.backward()
    assert output.loss.dtype == torch.float32 and output.reconstruction.dtype == torch.bfloat16
    latents = model.eval()._encode(values, None)[0].bfloat16()  # the same vectors give the same codes
    agree = (low.eval().quantizer.encode(latents) == model.quantizer.encode(latents)).float().mean()
    assert agree >= 0.999


def test_checkpointing_gives_equal_gradients_and_learns_once():
    values = sounds(2, 8 * HOP)
    found = []
    for checkpointing in (False, True):
        model = small(lstm_layers=1).train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
            assert model.encoder.steps[0].gradient_checkpointing
        model(values).loss.backward()
        found.append(model)
    for (name, one), two in zip(found[0].named_parameters(), found[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, msg=name)
    for one, two in zip(found[0].buffers(), found[1].buffers(), strict=True):
        assert torch.equal(one, two)


def test_device_map(tmp_path):
    model = small(lstm_layers=1).eval()
    model.save_pretrained(tmp_path)
    values = sounds(1, 8 * HOP)
    codes = model.encode(values).codes
    placed = AutoModel.from_pretrained(tmp_path, device_map="auto")
    assert torch.equal(placed.encode(values).codes, codes)
    split = AutoModel.from_pretrained(
        tmp_path, device_map={"encoder": "cpu", "quantizer": "cpu", "decoder": "disk", "teachers": "cpu"},
        offload_folder=tmp_path / "offload",
    )  # fmt: skip
    torch.testing.assert_close(split.decode(split.encode(values).codes), model.decode(codes))


def test_what_teachers_say():
    """Only the first codebook learns; every codec of teachers has a loss of each, whether features are given or not."""
    model = small(distill_lm_dim=5, distill_speech_dim=3, distill_lm_weight=2.0).train()
    values, words, states = sounds(2, 8 * HOP), torch.randn(2, 8, 5), torch.randn(2, 7, 3)
    output = model(values, distill_lm=words, distill_speech=states)
    assert output.losses["distill_lm"] > 2 * 0.313 and output.losses["distill_speech"] > 0.313
    assert torch.allclose(output.loss, sum(output.losses.values()), atol=1e-5)
    output = model(values, distill_lm=words)
    assert output.losses["distill_speech"] == 0
    output.loss.backward()
    assert all(each.grad is not None for each in model.parameters())
    with pytest.raises(CodecError, match="set distill_lm_dim"):
        small()(values, distill_lm=words)
    with pytest.raises(CodecError, match="must be"):
        model(values, distill_lm=words[..., :4])


def test_distillation_reaches_the_encoder_through_the_first_codes():
    model = small(distill_lm_dim=5, wave_weight=0.0, noise_weight=0.0, mel_weight=0.0, quantizer_weight=0.0).train()
    values, words = sounds(2, 8 * HOP), torch.randn(2, 8, 5)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        output = model(values, distill_lm=words)
        output.loss.backward()
        optimizer.step()
        losses.append(output.losses["distill_lm"].item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_it_learns():
    """An untrained codec gives noise; a few steps on two sounds bring it below silence."""
    torch.manual_seed(0)
    model = small("none", filters=8, latent_dim=16).train()
    time = torch.arange(40 * HOP) / 8000
    values = 0.3 * torch.stack([torch.sin(6.28 * 300 * time), torch.sin(6.28 * 500 * time)])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        output = model(values)
        output.loss.backward()
        optimizer.step()
    assert output.losses["noise"] < 0.5


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (torch.zeros(1, 2, 99), None, "2 channels"),
        (torch.zeros(99), None, "batch, samples"),
        ([0.0], None, "batch, samples"),
        (torch.zeros(1, 0), None, "no sound"),
        (torch.zeros(1, 99, dtype=torch.int16), None, "real numbers"),
        (torch.zeros(1, 99), torch.ones(1, 98), "padding_mask must be"),
        (torch.zeros(1, 99), [1], "padding_mask must be"),
        (torch.zeros(1, 4), torch.tensor([[0, 1, 1, 0]]), "behind the sound"),
    ],
)
def test_wrong_sounds(values, mask, message):
    with pytest.raises(CodecError, match=message):
        small().encode(values, mask)


def test_wrong_codes_and_vectors():
    model = small().eval()
    with pytest.raises(QuantizerError, match="NaN"):
        model.encode(torch.full((1, 99), torch.nan))
    with pytest.raises(CodecError, match="0 to 15"):
        model.decode(torch.full((1, 3, 4), 16))
    with pytest.raises(CodecError, match="shape"):
        model.decode(torch.zeros(1, 4, 4, dtype=torch.long))
    for latents, mask in ((torch.zeros(1, 4, 9), None), (torch.zeros(1, 4, 8), torch.ones(1, 3, dtype=torch.bool))):
        with pytest.raises(CodecError, match="vectors must be"):
            model.decode_latents(latents, mask)
    with pytest.raises(CodecError, match="continuous"):
        small("none").decode(torch.zeros(1, 1, 4, dtype=torch.long))


@pytest.mark.parametrize("wrong", [{"strides": []}, {"filters": 0}, {"mel_windows": [30]}, {"quantizer": "x"}])
def test_wrong_configs(wrong):
    with pytest.raises((StrictDataclassError, ValueError)):
        SpeechCodecConfig(**wrong)


def test_defaults():
    config = SpeechCodecConfig()
    assert config.hop_length == 320 and config.frame_rate == 50
    assert config.quantizer_options == {"size": 1024, "codebooks": 8} and config.strides == [2, 4, 5, 8]
    assert config.codebook_sizes == (1024,) * 8 and SpeechCodecConfig(quantizer="none").codebook_sizes == ()
    huge = SpeechCodecConfig(quantizer_options={"size": 2**40, "codebooks": 1})  # a config takes no memory for codes
    assert huge.codebook_sizes == (2**40,)
