"""transformers' own audio codecs give through the wrapper what they give by themselves."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioTokenization,
    DacConfig,
    EncodecConfig,
    MimiConfig,
    Wav2Vec2BertConfig,
    Xcodec2Config,
)

import hf_tokext
from hf_tokext import CodecError, WrappedAudioCodec, WrappedAudioCodecConfig

KINDS = ("encodec", "dac", "mimi", "xcodec2")


def tiny(kind):
    if kind == "encodec":
        return EncodecConfig(
            sampling_rate=16000, num_filters=4, hidden_size=16, upsampling_ratios=[4, 2], codebook_size=16,
            num_lstm_layers=1, target_bandwidths=[8.0, 24.0],
        )  # fmt: skip
    if kind == "dac":
        return DacConfig(
            encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=[2, 4], n_codebooks=3, codebook_size=16,
            codebook_dim=4,
        )  # fmt: skip
    if kind == "mimi":
        return MimiConfig(
            sampling_rate=16000, num_filters=4, hidden_size=16, upsampling_ratios=[4, 2], codebook_size=16,
            codebook_dim=8, num_quantizers=4, vector_quantization_hidden_dimension=8, upsample_groups=16,
            num_hidden_layers=1, intermediate_size=16, num_attention_heads=2, num_key_value_heads=2, head_dim=8,
        )  # fmt: skip
    semantic = Wav2Vec2BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, feature_projection_input_dim=8,
    )  # fmt: skip
    return Xcodec2Config(
        hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        head_dim=16, encoder_hidden_size=4, downsampling_ratios=[2, 4], quantization_dim=48,
        quantization_levels=[4, 4], semantic_model_config=semantic,
    )  # fmt: skip


def made(kind, **options):
    torch.manual_seed(0)
    upstream = AutoModel.from_config(tiny(kind)).eval()
    if kind in ("encodec", "mimi"):  # new codebooks are all zeros
        for name, buffer in upstream.named_buffers():
            if name.endswith(("embed", "embed_sum")):
                buffer.normal_()
    return WrappedAudioCodec.from_codec(upstream, **options)


def inputs(kind, batch=2, places=20):
    hop = made_hop(kind)
    sound = torch.randn(batch, 1, places * hop, generator=torch.Generator().manual_seed(1)) * 0.1
    more = {"input_features": torch.randn(batch, places, 8)} if kind == "xcodec2" else {}
    return sound, more


def made_hop(kind):
    return WrappedAudioCodecConfig(codec_config=tiny(kind)).hop_length


def by_itself(kind, codec, sound, more):
    if kind == "encodec":
        found = codec.encode(sound, bandwidth=24.0)
        return found.audio_codes[0], codec.decode(found.audio_codes, found.audio_scales).audio_values
    found = codec.encode(sound, **more)
    values = codec.decode(audio_codes=found.audio_codes).audio_values
    return found.audio_codes, values.reshape(len(sound), 1, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_upstream(kind):
    model = made(kind)
    sound, more = inputs(kind)
    with torch.no_grad():
        codes, values = by_itself(kind, model.codec, sound, more)
        found = model.encode(sound, **more)
        decoded = model.decode(found.codes)
    assert torch.equal(found.codes, codes.long()) and found.audio_codes is found.codes
    assert found.codes.shape == (2, len(model.codebook_sizes), 20) and (
        kind == "xcodec2" or len(found.codes.unique()) > 2
    )
    assert found.mask.all() and found.latents.shape[:2] == (2, 20)
    torch.testing.assert_close(decoded, values)
    torch.testing.assert_close(model.decode_latents(found.latents).detach(), values)
    assert model.decode(found.codes, length=17).shape == (2, 1, 17)
    assert torch.equal(model.encode(sound[:, 0], **more).codes, found.codes)
    assert model.config.frame_rate == 16000 / made_hop(kind) and model.modality == "audio"


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded(kind, tmp_path):
    model = made(kind)
    sound, more = inputs(kind)
    model.save_pretrained(tmp_path)
    for auto in (AutoModel, AutoModelForAudioTokenization):
        again = auto.from_pretrained(tmp_path)
        assert type(again) is WrappedAudioCodec
        for mode in (True, False):
            torch.manual_seed(0)
            one = model.train(mode)(sound, **more)
            torch.manual_seed(0)
            two = again.train(mode)(sound, **more)
            assert torch.equal(one.loss, two.loss) and torch.equal(one.codes, two.codes)
            assert torch.equal(one.reconstruction, two.reconstruction)
    assert type(AutoConfig.from_pretrained(tmp_path)) is WrappedAudioCodecConfig


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_learns(kind):
    model = made(kind).train()
    sound, more = inputs(kind)
    output = model(sound, **more)
    output.loss.backward()
    assert output.reconstruction.shape == sound.shape and set(output.losses) == {"wave", "noise", "mel"}
    learnt = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.abs().sum() > 0}
    assert learnt and not [name for name in learnt if "encoder" in name.replace("acoustic_decoder", "").split(".")[1]]


@pytest.mark.parametrize("kind", ("encodec", "dac", "mimi"))
def test_fewer_codebooks(kind):
    model, sound = made(kind, codebooks=2), inputs(kind)[0]
    codes = model.encode(sound).codes
    assert len(model.codebook_sizes) == 2 and torch.equal(codes, made(kind).encode(sound).codes[:, :2])
    assert model.decode(codes).shape == sound.shape and model.bits_per_step == 8


@pytest.mark.parametrize("kind", ("encodec", "dac", "mimi"))
def test_padding(kind):
    model, (sound, _) = made(kind), inputs(kind)
    hop = made_hop(kind)
    mask = torch.ones(2, sound.shape[-1], dtype=torch.long)
    mask[1, 9 * hop + 1 :] = 0
    found = model.encode(sound, mask)
    assert found.mask.sum(1).tolist() == [20, 10] and not found.codes[1, :, 10:].any()
    assert torch.equal(found.codes[0], model.encode(sound).codes[0])
    assert not model.decode(found.codes, found.mask)[1, :, 10 * hop :].any()
    noisy = sound.clone()
    noisy[1, :, 9 * hop + 1 :] = 7.0  # what is masked means nothing
    assert torch.equal(model.encode(noisy, mask).codes, found.codes)


def test_refusals():
    with pytest.raises(StrictDataclassError, match="24 kHz"):
        WrappedAudioCodecConfig(codec_config=EncodecConfig(chunk_length_s=1.0, overlap=0.01, normalize=True))
    with pytest.raises(StrictDataclassError, match="channels"):
        WrappedAudioCodecConfig(codec_config=EncodecConfig(audio_channels=2))
    with pytest.raises(StrictDataclassError, match="known are encodec"):
        WrappedAudioCodecConfig(codec_config={"model_type": "llama"})
    with pytest.raises(CodecError, match="codebooks must be 1 to 3"):
        made("dac", codebooks=4)
    model, sound = made("dac"), inputs("dac")[0]
    with pytest.raises(CodecError, match="0 to 15"):
        model.decode(torch.full((1, 3, 4), 16))
    with pytest.raises(CodecError, match="NaN"):
        model.encode(sound * torch.nan)
    with pytest.raises(CodecError, match="mono"):
        model.encode(sound.reshape(1, 2, -1))
    with pytest.raises(CodecError, match="input_features"):
        made("xcodec2").encode(inputs("xcodec2")[0])


def test_by_model_type_alone():
    config = WrappedAudioCodecConfig(codec_config={"model_type": "mimi"})
    assert config.codec.model_type == "mimi" and config.hop_length == 1920 and len(config.all_codebook_sizes) == 32
    assert hf_tokext.WrappedAudioCodecConfig().codec.model_type == "dac"
