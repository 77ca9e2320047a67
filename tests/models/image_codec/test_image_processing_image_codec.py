"""The image processor: every kind of image comes to the same values, what is none is refused, and it goes to disk and back."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from transformers import AutoImageProcessor

from hf_tokext import CodecError, ImageCodecConfig, ImageCodecImageProcessor, ImageCodecModel


@pytest.fixture
def processor():
    return ImageCodecImageProcessor(size={"height": 8, "width": 12})


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)


def values_of(processor, image, **options):
    return processor(image, return_tensors="pt", **options)["pixel_values"]


def test_all_forms_of_one_image_are_one_batch(processor, pixels, tmp_path):
    expected = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None] / 127.5 - 1
    image = Image.fromarray(pixels)
    image.save(tmp_path / "image.png")
    first = pixels.transpose(2, 0, 1)
    floats = pixels / 255
    forms = [
        image, tmp_path / "image.png", str(tmp_path / "image.png"), pixels, first, torch.from_numpy(first), floats,
        floats.astype(np.float32), torch.from_numpy(floats), pixels.astype(np.int64), pixels.astype(np.uint16) * 257,
        pixels[None], [image], [pixels], torch.from_numpy(first)[None],
    ]  # fmt: skip
    for form in forms:
        found = values_of(processor, form)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert values_of(processor, [[image, pixels], [first]]).shape == (3, 3, 8, 12)
    half = values_of(processor, torch.from_numpy(floats).bfloat16())
    torch.testing.assert_close(half, expected, atol=0.02, rtol=0)
    assert processor.post_process(expected)[0].tobytes() == image.tobytes()
    assert processor.post_process(expected[0])[0].tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"])
def test_modes_are_what_pillow_shows(processor, pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    shown = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)
    torch.testing.assert_close(values_of(processor, image)[0], torch.from_numpy(shown) / 127.5 - 1, atol=1e-5, rtol=0)


def test_grey_and_sixteen_bits(processor):
    grey = np.random.default_rng(1).integers(0, 65536, (8, 12), dtype=np.uint16)
    expected = torch.from_numpy(grey / 32767.5 - 1).float().expand(1, 3, 8, 12)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "png")
    for form in (grey, grey[..., None], Image.open(buffer), Image.fromarray(grey.astype(np.int32)),
                 Image.fromarray((grey / 65535).astype(np.float32))):  # fmt: skip
        torch.testing.assert_close(values_of(processor, form), expected, atol=1e-4, rtol=0)
    signs = torch.from_numpy(2.0 * (grey > 30_000) - 1).float()
    assert torch.equal(values_of(processor, grey > 30_000), signs.expand(1, 3, 8, 12))


def test_what_is_transparent_lies_on_white(processor, pixels):
    seen = np.zeros((8, 12, 1), np.uint8)
    seen[:, :6], seen[:, 6:9] = 255, 51
    image = np.concatenate([pixels, seen], 2)
    expected = pixels * (seen / 255) + 255 * (1 - seen / 255)
    expected = torch.from_numpy(expected.transpose(2, 0, 1)).float()[None] / 127.5 - 1
    for form in (image, Image.fromarray(image), image.transpose(2, 0, 1)):
        torch.testing.assert_close(values_of(processor, form), expected, atol=1e-5, rtol=0)
    palette = Image.fromarray(pixels).convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert torch.equal(values_of(processor, palette)[0, :, 0, 0], torch.ones(3))


def test_a_camera_held_upright(processor, pixels):
    image = Image.fromarray(pixels.transpose(1, 0, 2)[:, ::-1].copy())  # turned right, and marked as such
    exif = image.getexif()
    exif[0x0112] = 8
    buffer = io.BytesIO()
    image.save(buffer, "png", exif=exif)
    assert torch.equal(values_of(processor, Image.open(buffer)), values_of(processor, pixels))


def test_size_by_covering_stretching_cutting_or_not_at_all(pixels):
    image = Image.fromarray(np.repeat(np.arange(240, dtype=np.uint8)[None, :, None], 60, 0).repeat(3, 2))
    covered = values_of(ImageCodecImageProcessor(size=30), image)
    stretched = values_of(ImageCodecImageProcessor(size=30, do_center_crop=False), image)
    cut = values_of(ImageCodecImageProcessor(size=30, do_resize=False), image)
    assert covered.shape == stretched.shape == cut.shape == (1, 3, 30, 30)
    spans = [float(each.max() - each.min()) * 127.5 for each in (covered, stretched, cut)]
    assert spans == pytest.approx([58, 232, 29], abs=1)
    free = ImageCodecImageProcessor(size=30, do_resize=False, do_center_crop=False)
    assert values_of(free, image).shape == (1, 3, 60, 240)
    with pytest.raises(CodecError, match="several sizes"):
        values_of(free, [image, pixels])
    assert len(free([image, pixels])["pixel_values"]) == 2
    with pytest.raises(CodecError, match="cannot be cut out of 8 x 12"):
        values_of(ImageCodecImageProcessor(size=30, do_resize=False), pixels)
    assert values_of(free, image, do_resize=True, size={"height": 4, "width": 6}).shape == (1, 3, 4, 6)
    noise = np.random.default_rng(0).integers(0, 2, (40, 40, 3), dtype=np.uint8) * 255
    assert values_of(ImageCodecImageProcessor(size=90), noise).abs().max() <= 1  # bicubic would overshoot


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.full((4, 4, 3), np.nan), "NaN or infinity"),
        (torch.full((3, 4, 4), torch.inf), "NaN or infinity"),
        (np.full((4, 4, 3), 200.0), "floats of an image must lie in 0 to 1, not 200 to 200; divide"),
        (np.full((4, 4, 3), -0.5), "values in -1 to 1"),
        (np.full((4, 4, 3), 256), "whole numbers of an image must lie in 0 to 255"),
        (np.zeros((0, 4, 3), np.uint8), "has no pixels"),
        (np.zeros((5, 4, 2), np.uint8), "no axis of 1, 3 or 4 channels"),
        (np.zeros(4, np.uint8), "an image has the shape"),
        (np.zeros((1, 1, 3, 4, 4), np.uint8), "an image has the shape"),
        (np.zeros((4, 4, 3), complex), "cannot be made of complex128"),
        ([], "there is no image"),
        (None, "NoneType is no image"),
        ("nowhere.png", "nowhere.png cannot be read as an image"),
    ],
)
def test_what_is_no_image_is_refused(processor, image, said):
    with pytest.raises(CodecError, match=said):
        values_of(processor, image)


def test_a_damaged_file_is_refused(processor, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "image.png")
    whole = (tmp_path / "image.png").read_bytes()
    (tmp_path / "image.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CodecError, match=r"image\.png cannot be read"):
        values_of(processor, tmp_path / "image.png")


def test_whatever_pillow_raises_is_one_error(processor, pixels, tmp_path):
    """More text in a PNG than it takes is a ValueError of its own, as some damage is."""
    told = PngInfo()
    told.add_text("how it was made", "x" * 2_000_000, zip=True)
    Image.fromarray(pixels).save(tmp_path / "image.png", pnginfo=told)
    with pytest.raises(CodecError, match=r"image\.png cannot be read as an image: Decompressed data too large"):
        values_of(processor, tmp_path / "image.png")


def test_a_file_that_was_only_opened_is_read_now_or_refused(processor, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "image.png")
    whole = (tmp_path / "image.png").read_bytes()
    with Image.open(io.BytesIO(whole[: len(whole) // 2])) as image, pytest.raises(CodecError, match="cannot be read"):
        values_of(processor, image)


def test_whole_numbers_of_other_machines_and_sizes(processor):
    grey = np.random.default_rng(1).integers(0, 65536, (8, 12), dtype=np.uint16)
    assert torch.equal(values_of(processor, grey.astype(">u2")), values_of(processor, grey))
    for wrong in (70_000, -1):
        with pytest.raises(CodecError, match="must lie in 0 to 65535"):
            values_of(processor, Image.fromarray(np.full((8, 12), wrong, np.int32)))


def test_pictures_of_what_is_none_are_refused(processor):
    with pytest.raises(CodecError, match=r"\[batch, 3, height, width\], not \[2, 2\]"):
        processor.post_process(torch.zeros(2, 2))
    with pytest.raises(CodecError, match="NaN"):
        processor.post_process(torch.full((1, 3, 2, 2), torch.nan))


def test_save_and_reload_beside_a_model_and_alone(processor, pixels, tmp_path):
    processor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["auto_map"] == {"AutoImageProcessor": "hf_tokext_auto.ImageCodecImageProcessor"}
    assert "import ImageCodecImageProcessor" in (tmp_path / "hf_tokext_auto.py").read_text()
    again = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(again) is ImageCodecImageProcessor and again.to_dict() == processor.to_dict()
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3), dtype=np.uint8)
    assert torch.equal(values_of(again, image), values_of(processor, image))
    config = ImageCodecConfig(image_size=8, hidden_size=8, num_attention_heads=2, intermediate_size=8, num_latents=2,
                              quantizer="fsq", num_encoder_layers=1, num_decoder_layers=1)  # fmt: skip
    ImageCodecModel(config).save_pretrained(tmp_path)
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is ImageCodecImageProcessor
