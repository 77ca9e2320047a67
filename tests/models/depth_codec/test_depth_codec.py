import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from hf_tokext import CodecError, DepthCodecConfig, DepthCodecImageProcessor, DepthCodecModel, QuantizerError


def small(**options):
    torch.manual_seed(0)
    given = {"image_size": [16, 24], "hidden_sizes": [4, 8], "latent_dim": 8, "num_residual_blocks": 1}
    return DepthCodecModel(DepthCodecConfig(**{**given, "quantizer_options": {"size": 16}, **options}))


def maps(count=3, height=16, width=24, seed=0):
    return torch.rand(count, 1, height, width, generator=torch.Generator().manual_seed(seed))


def test_the_defaults_are_those_of_the_paper():
    model = DepthCodecModel(DepthCodecConfig())
    encoding = model.encode(maps(1, 320, 320))
    assert encoding.codes.shape == (1, 1, 100) and model.codebook_sizes == (128,)
    assert model.decode(encoding.codes).shape == (1, 1, 320, 320)


def test_codes_come_back_as_what_forward_gives():
    model = small().eval()
    values = maps()
    found, encoding = model(values), model.encode(values)
    assert torch.equal(found.codes, encoding.codes) and encoding.codes.shape == (3, 1, 4 * 6)
    torch.testing.assert_close(model.decode(encoding.codes), found.reconstruction)
    torch.testing.assert_close(found.losses["squared"], (found.reconstruction - values).square().mean())


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 32), (16, 24)])
def test_sizes_that_its_steps_divide(height, width):
    model = small().eval()
    codes = model.encode(maps(2, height, width)).codes
    assert codes.shape == (2, 1, height * width // 16)
    assert model.decode(codes, size=(height, width)).shape == (2, 1, height, width)


def test_codes_are_row_by_row():
    model = small(quantizer="none", quantizer_options=None, num_residual_blocks=0).eval()
    values = maps(1)
    before = model.encode(values).latents.view(4, 6, 8)
    values[..., 8:, :] = 1 - values[..., 8:, :]  # the lower half is two rows; convolutions reach one row further
    changed = (model.encode(values).latents.view(4, 6, 8) != before).any(2)
    assert not changed[:1].any() and changed[2:].all()


def test_what_is_not_known_has_no_share():
    model = small().eval()
    values, mask = maps(), torch.rand(3, 16, 24) > 0.3
    other = torch.where(mask[:, None], values, 7.0)
    first, second = model(values, mask), model(other, mask)
    assert torch.equal(first.loss, second.loss) and torch.equal(first.codes, second.codes)
    apart = (first.reconstruction - values)[:, 0][mask]
    torch.testing.assert_close(first.losses["squared"], apart.square().mean())
    assert torch.isfinite(model(values, torch.zeros_like(mask)).loss)


@pytest.mark.parametrize("quantizer", ["vq", "fsq", "rvq", "none"])
def test_saved_in_training_mode_it_learns_on_as_it_would_have(quantizer, tmp_path):
    options = {"fsq": {"levels": [4, 4]}, "rvq": {"size": 8, "codebooks": 2}, "vq": {"size": 16}, "none": None}
    model = small(quantizer=quantizer, quantizer_options=options[quantizer]).train()
    for seed in range(2):
        model(maps(seed=seed))
    model.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).train()
    assert type(again) is DepthCodecModel
    torch.testing.assert_close(again(maps(seed=5)).loss, model(maps(seed=5)).loss, rtol=0, atol=0)
    torch.testing.assert_close(again(maps(seed=6)).loss, model(maps(seed=6)).loss, rtol=0, atol=0)
    model.eval(), again.eval()
    torch.testing.assert_close(again(maps()).reconstruction, model(maps()).reconstruction, rtol=0, atol=0)


def test_in_bfloat16_the_codebook_stays_what_it_is(tmp_path):
    model = small().eval()
    model(maps())
    model.save_pretrained(tmp_path)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert half.encoder[0].weight.dtype == torch.bfloat16
    assert {part.dtype for part in half.quantizer.state_dict().values()} <= {torch.float32, torch.int64}
    assert half(maps().bfloat16()).reconstruction.dtype == torch.bfloat16
    assert half.decode(half.encode(maps()).codes).dtype == torch.bfloat16


def test_checkpointing_gives_the_same_gradients_and_learns_once():
    models = [small().train() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[1].activation_checkpointing_enable()
    for model in models:
        model(maps()).loss.backward()
    for one, other in zip(models[0].named_parameters(), models[1].named_parameters(), strict=True):
        torch.testing.assert_close(one[1].grad, other[1].grad, msg=one[0])
    for name, buffer in models[0].quantizer.named_buffers():
        torch.testing.assert_close(buffer, dict(models[1].quantizer.named_buffers())[name], msg=name)


def test_it_learns():
    model = small(hidden_sizes=[16, 32], quantizer_options={"size": 64}).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 24), indexing="ij")
    slopes = torch.rand(16, 2, generator=torch.Generator().manual_seed(1))
    values = ((slopes[:, :1, None] * rows + slopes[:, 1:, None] * columns) / 2)[:, None]
    for _ in range(90):
        optimizer.zero_grad()
        model(values).loss.backward()
        optimizer.step()
    mean = (values - values.mean()).square().mean()
    assert model.eval()(values).losses["squared"] < mean / 4


def test_a_codec_of_another_size_says_so(tmp_path):
    small().save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="size mismatch|mismatched"):
        DepthCodecModel.from_pretrained(tmp_path, quantizer_options={"size": 32})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.rand(16, 24), "shape"),
        (torch.rand(1, 3, 16, 24), "shape"),
        (torch.rand(0, 1, 16, 24), "at least one"),
        (torch.rand(1, 1, 15, 24), "multiples of 4"),
        (torch.rand(1, 1, 0, 24), "multiples of 4"),
    ],
)
def test_wrong_shapes(values, message):
    with pytest.raises(CodecError, match=message):
        small()(values)


def test_wrong_masks_codes_and_values():
    model = small()
    with pytest.raises(CodecError, match="mask"):
        model(maps(), torch.ones(3, 1, 16, 24, dtype=torch.bool))
    with pytest.raises(QuantizerError, match="NaN"):
        model(maps() * float("nan"))
    codes = model.encode(maps()).codes
    with pytest.raises(CodecError, match="0 to 15"):
        model.decode(codes + 16)
    with pytest.raises(CodecError, match="shape"):
        model.decode(codes[:, 0])
    with pytest.raises(CodecError, match="say the size"):
        model.decode(codes[..., :-1])
    with pytest.raises(CodecError, match="continuous"):
        small(quantizer="none", quantizer_options=None).decode(codes)


@pytest.mark.parametrize(
    "options",
    [{"image_size": 30}, {"image_size": [16, 16, 16]}, {"hidden_sizes": []}, {"latent_dim": 0}, {"quantizer": "x"}],
)
def test_impossible_configs(options):
    with pytest.raises(Exception, match="image_size|hidden_sizes|latent_dim|quantizer"):
        small(**options)


def test_the_config_keeps_what_was_given(tmp_path):
    config = small().config
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    apart = ("_name_or_path", "transformers_version")
    assert again.to_dict() | dict.fromkeys(apart) == config.to_dict() | dict.fromkeys(apart)
    assert "hf_tokext_auto.DepthCodecModel" in (tmp_path / "config.json").read_text(encoding="utf-8")


def test_processor_and_codec_there_and_back(tmp_path):
    processor = DepthCodecImageProcessor(size={"height": 16, "width": 24})
    processor.save_pretrained(tmp_path)
    small().save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(processor) is DepthCodecImageProcessor
    depth = 2 + 3 * np.random.default_rng(0).random((16, 24))
    batch = processor(depth)
    assert batch["pixel_values"].shape == (1, 1, 16, 24) and bool(batch["pixel_mask"].all())
    (back,) = processor.post_process(batch["pixel_values"], batch["depth_range"])
    np.testing.assert_allclose(back, depth, rtol=1e-5)
    AutoModel.from_pretrained(tmp_path)(**batch)


def test_holes_are_no_edges():
    depth = np.full((32, 48), 5.0)
    depth[:, 24:] = 9.0
    depth[5:9, 3:20] = np.inf
    depth[20:30, 30:34] = 0
    batch = DepthCodecImageProcessor(size={"height": 16, "width": 24})(depth)
    mask = batch["pixel_mask"][0]
    assert 0 < int((~mask).sum()) < 100
    assert batch["depth_range"].tolist() == [[5.0, 9.0]]
    inside = batch["pixel_values"][0, 0][:, 14:][mask[:, 14:]]  # right of the edge nothing but 9
    torch.testing.assert_close(inside, torch.ones_like(inside))


def test_a_range_of_its_own_cuts_what_lies_outside():
    processor = DepthCodecImageProcessor(size=2, depth_range=(1, 3))
    batch = processor(np.array([[0.5, 1.0], [2.0, 9.0]]))
    assert batch["pixel_values"].flatten().tolist() == [0, 0, 0.5, 1]
    np.testing.assert_allclose(processor.post_process(batch["pixel_values"])[0], [[1, 1], [2, 3]])


def test_pictures_of_depth_and_batches():
    from PIL import Image

    processor = DepthCodecImageProcessor(size=8)
    deep = (np.arange(64).reshape(8, 8) * 900 + 1).astype(np.uint16)
    expected = processor(deep.astype(float))["pixel_values"]
    torch.testing.assert_close(processor(Image.fromarray(deep))["pixel_values"], expected)
    torch.testing.assert_close(
        processor([deep, torch.tensor(deep.astype(float))])["pixel_values"], expected.expand(2, 1, 8, 8)
    )
    torch.testing.assert_close(processor(deep[None, None].astype(float))["pixel_values"], expected)
    assert processor(deep, return_tensors="np")["pixel_mask"].dtype == bool
    for kind in (">u2", ">f4", ">f8", np.uint32, np.float16):
        torch.testing.assert_close(processor(deep.astype(kind))["pixel_values"], expected, atol=1e-3, rtol=0)
    for mode in ("P", "RGB", "1", "LA"):
        with pytest.raises(CodecError, match=f"mode {mode} is no depth map"):
            processor(Image.fromarray(deep.astype(np.uint8)).convert(mode))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((8, 8)), "no depth"),
        (np.full((8, 8), np.nan), "no depth"),
        (np.ones((8, 8, 3)), "colour"),
        (np.ones((0, 8)), "shape"),
        ([], "at least one"),
        ("a.png", "numbers|no depth map"),
        (np.ones((8, 8), dtype=bool), "numbers"),
    ],
)
def test_what_is_no_depth_map(given, message):
    with pytest.raises(CodecError, match=message):
        DepthCodecImageProcessor(size=8)(given)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": {"height": 8}}, {"depth_range": (3, 1)}, {"depth_range": [1]}]
)
def test_impossible_processors(options):
    with pytest.raises(CodecError):
        DepthCodecImageProcessor(**options)
