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
from hf_tokext.models.audio_codec.spectra import spectra

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
    with pytest.raises(CodecError, match=r"pass input_features \[batch, 20, 8\]"):
        made("xcodec2").encode(inputs("xcodec2")[0])
    with pytest.raises(CodecError, match="only XCodec2"):
        model.encode(sound, input_features=sound)
    with pytest.raises(CodecError, match=r"input_features must be \[2, 20"):
        made("xcodec2").encode(inputs("xcodec2")[0], input_features=torch.zeros(2, 19, 8))


def published(**options):
    """An XCodec2 of the published one's rates, but small, with weights that tell sounds apart."""
    config = tiny("xcodec2")
    config.downsampling_ratios, config.encoder_hidden_size = [2, 2, 4, 4, 5], 2
    config.semantic_model_config.feature_projection_input_dim = 160
    torch.manual_seed(0)
    upstream = AutoModel.from_config(config).eval()
    for each in upstream.parameters():
        if each.ndim > 1:
            each.data.normal_(std=each[0].numel() ** -0.5)
    return WrappedAudioCodec.from_codec(upstream, **options)


def test_xcodec2_hears_the_spectrum_by_itself():
    """As its own feature extractor has it, but for the place that this adds."""
    model = published()
    assert not model.config.needs_features and made("xcodec2").config.needs_features
    sound = torch.randn(2, 1, 10 * 320 - 7, generator=torch.Generator().manual_seed(0)) * 0.1
    found = model.encode(sound)
    assert found.codes.shape == (2, 1, 10) and len(found.codes.unique()) > 2
    heard = spectra(torch.nn.functional.pad(sound, (0, 7)), found.mask)
    assert heard.shape == (2, 10, 160)
    frames = heard.reshape(2, 20, 80)  # two a place
    torch.testing.assert_close(frames.mean(1), torch.zeros(2, 80), atol=1e-4, rtol=0)
    torch.testing.assert_close(frames.std(1), torch.ones(2, 80), atol=1e-3, rtol=0)
    assert torch.equal(model.encode(sound, input_features=heard).codes, found.codes)
    assert not torch.equal(model.encode(sound, input_features=heard.flip(1)).codes, found.codes)
    model.train()(sound).loss.backward()


def test_xcodec2_hears_each_sound_of_a_batch_as_it_hears_it_alone():
    sound = torch.randn(1, 1, 6 * 320, generator=torch.Generator().manual_seed(0)) * 0.1
    batch = torch.cat([torch.nn.functional.pad(sound, (0, 4 * 320)), torch.randn(1, 1, 10 * 320)])
    places = torch.tensor([[True] * 6 + [False] * 4, [True] * 10, [False] * 10])
    both = spectra(torch.cat([batch, batch[:1]]), places)
    torch.testing.assert_close(both[:1, :6], spectra(sound, places[:1, :6]))
    assert (both[0, 6:] == 1).all() and (both[2] == 1).all()
    model, mask = published(), places[:2].repeat_interleave(320, 1)
    seen = []
    model.codec.semantic_encoder.register_forward_pre_hook(lambda _, given, more: seen.append(more), with_kwargs=True)
    assert model.encode(batch, mask).mask.sum(1).tolist() == [6, 10]
    assert torch.equal(seen[0]["attention_mask"], places[:2].long())


def test_training_mode_changes_no_code():
    """Wav2Vec2Bert leaves out layers and masks stretches at random in training."""
    model = published()
    model.codec.semantic_encoder.config.mask_time_prob = 0.5
    sound = torch.randn(4, 1, 30 * 320, generator=torch.Generator().manual_seed(0)) * 0.1
    codes = model.encode(sound).codes
    model.train()
    model.codec.acoustic_decoder.eval()  # whatever a user has set stays
    assert all(torch.equal(model.encode(sound).codes, codes) for _ in range(3))
    assert model.codec.semantic_encoder.training and not model.codec.acoustic_decoder.training


def test_as_long_as_was_wanted():
    """DAC gives a few samples fewer than its places stand for where a stride is odd."""
    config = tiny("dac")
    config.downsampling_ratios, config.upsampling_ratios, config.hop_length = [3, 4], [4, 3], 12
    codec = WrappedAudioCodec.from_codec(AutoModel.from_config(config).eval())
    sound = torch.randn(1, 1, 20 * 12)
    codes = codec.encode(sound).codes
    assert codec.decode(codes).shape[-1] < 240 and codec.decode(codes, length=240).shape == (1, 1, 240)
    assert codec.train()(sound).reconstruction.shape == sound.shape


def test_by_model_type_alone():
    config = WrappedAudioCodecConfig(codec_config={"model_type": "mimi"})
    assert config.codec.model_type == "mimi" and config.hop_length == 1920 and len(config.all_codebook_sizes) == 32
    assert hf_tokext.WrappedAudioCodecConfig().codec.model_type == "dac"
