"""What images add to the interface of codecs: sizes, positions, attention, and learning from nothing."""

import pytest
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModel, Trainer, TrainingArguments

from hf_tokext import CodecError, ImageCodecConfig, ImageCodecImageProcessor, ImageCodecModel
from hf_tokext.models.blocks.transformer import plane_positions


def test_shapes_and_bits(fresh, images):
    model = fresh("rvq").eval()
    found = model(images)
    assert found.codes.shape == (12, 3, 6) and found.reconstruction.shape == images.shape
    assert found.mask.shape == (12, 6) and bool(found.mask.all())
    assert model.bits_per_image == 6 * 3 * 3 and fresh("none").bits_per_image == 0
    torch.testing.assert_close(found.losses["squared"], (found.reconstruction - images).square().mean())
    both = fresh("rvq", absolute_weight=0.5).eval()(images)
    torch.testing.assert_close(both.losses["absolute"], (both.reconstruction - images).abs().mean() / 2)
    torch.testing.assert_close(both.loss, sum(both.losses.values()))


def test_any_size_that_patches_divide(fresh, images):
    model = fresh().eval()
    for height, width in ((16, 24), (4, 4), (32, 8)):
        values = torch.nn.functional.interpolate(images, size=(height, width))
        assert model(values).reconstruction.shape == values.shape
        codes = model.encode(values).codes
        assert codes.shape == (12, 1, 6)
        assert model.decode(codes, size=(height, width)).shape == values.shape
        assert model.decode(codes).shape == images.shape
    wide = fresh(image_size=[8, 20]).eval()
    assert wide.decode(codes).shape == (12, 3, 8, 20)


def test_a_patch_comes_back_where_it_was(fresh):
    """Cutting into patches and putting together again: with the layers between taken out, an image is what it was."""
    model = fresh("none", hidden_size=48, num_latents=12)
    identity = torch.nn.Identity()
    values = torch.randn(2, 3, 8, 24, generator=torch.Generator().manual_seed(0))
    model.from_pixels = model.to_pixels = identity
    seen = []
    model.encoder.forward = lambda hidden, places: seen.append(hidden) or hidden
    model._encode(values, None)
    model.decoder.forward = lambda hidden, places: seen[0]
    assert torch.equal(model.decode_latents(torch.zeros(2, 12, 8), size=(8, 24)), values)


def test_places_are_shares_of_the_plane():
    coarse, fine = (plane_positions(rows, 3 * rows, 16, 4, torch.device("cpu")) for rows in (1, 3))
    torch.testing.assert_close(coarse, fine.view(3, 9, 16)[1, 1::3])  # the middles of the coarse patches
    assert torch.cdist(fine, fine).fill_diagonal_(9).min() > 0.1
    near, far = (fine[0] - fine[1]).norm(), (fine[0] - fine[8]).norm()
    assert near < far


def test_what_does_not_fit_is_refused(fresh, images):
    model = fresh().eval()
    for values in (images[0], images[:, :1], images[:0], images[..., 0]):
        with pytest.raises(CodecError, match=r"shape \[batch, 3, height, width\]"):
            model(values)
    for values in (images[..., :14], images[..., :2, :]):
        with pytest.raises(CodecError, match="patches of 4 pixels do not divide"):
            model(values)
    with pytest.raises(CodecError, match="patches of 4 pixels do not divide"):
        model.decode(torch.zeros(1, 1, 6, dtype=torch.long), size=(15, 16))
    with pytest.raises(CodecError, match=r"latents \[batch, 6, 8\]"):
        model.decode(torch.zeros(1, 1, 5, dtype=torch.long))
    with pytest.raises(CodecError, match="no padding"):
        model.encode(images, torch.ones(12, 6, dtype=torch.bool))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image_size": 15}, "do not divide"),
        ({"image_size": [16, 16, 3]}, "height and width"),
        ({"hidden_size": 18}, "multiple of 4"),
        ({"num_attention_heads": 3}, "num_attention_heads=3"),
        ({"num_latents": 0}, "num_latents must be at least 1"),
        ({"absolute_weight": -1.0}, "absolute_weight"),
        ({"quantizer": "vp"}, "unknown quantizer 'vp'"),
        ({"quantizer": "fsq", "quantizer_options": {"levels": [1]}}, "at least 2 levels"),
    ],
)
def test_configs_that_cannot_be_are_refused(fresh, wrong, said):
    with pytest.raises(Exception, match=said):
        fresh(**wrong)


def test_every_attention_gives_the_same(fresh, images):
    model = fresh().eval()
    expected = model(images).reconstruction
    model.set_attn_implementation("eager")
    torch.testing.assert_close(model(images).reconstruction, expected, atol=1e-4, rtol=1e-4)


def test_images_are_told_apart_from_the_first_step_on(fresh, images):
    """The usual start, where all is drowned in what is the same for every image, has a share under 0.001 here."""
    model = fresh("none", hidden_size=64, intermediate_size=128, num_latents=16)
    found = model(images).reconstruction
    assert found.var(0).mean() / found.square().mean() > 0.2
    latents = model.encode(images).latents
    assert latents.var(0).mean() / latents.square().mean() > 0.3


def test_latents_begin_by_looking_at_what_is_near(fresh, images):
    model = fresh("none", hidden_size=64, intermediate_size=128, num_latents=16)  # as many as there are patches
    changed = images.clone()
    changed[:, :, :4, :4] += 1.0  # the first patch
    apart = (model.encode(changed).latents - model.encode(images).latents).norm(dim=2).mean(0)
    assert apart.argmax() == 0 and apart[0] > 3 * apart[-1]


@pytest.mark.parametrize("quantizer", ["vq", "fsq", "rvq"])
def test_it_learns_from_nothing(fresh, images, quantizer):
    model = fresh(quantizer, hidden_size=64, intermediate_size=128, num_latents=16).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(40):
        model(images).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    left = (model.eval()(images).reconstruction - images).square().mean() / images.var(0).mean()
    assert left < 0.35  # of what the mean image leaves


@pytest.fixture
def dataset(images):
    return [{"pixel_values": image} for image in images]


def arguments(folder, **options):
    return TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=4, report_to=[], use_cpu=True, learning_rate=1e-2, logging_steps=1,
        disable_tqdm=True, dataloader_pin_memory=False, **options,
    )  # fmt: skip


def test_trainer_learns_evaluates_and_goes_on(fresh, dataset, tmp_path):
    run = Trainer(
        fresh(), arguments(tmp_path / "run", max_steps=6, save_steps=3), train_dataset=dataset, eval_dataset=dataset
    )
    run.train()
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] and run.evaluate()["eval_loss"] > 0
    run.save_model(tmp_path / "saved")
    ImageCodecImageProcessor(size=16).save_pretrained(tmp_path / "saved")
    again = AutoModel.from_pretrained(tmp_path / "saved")
    assert type(again) is ImageCodecModel and type(AutoConfig.from_pretrained(tmp_path / "saved")) is ImageCodecConfig
    assert type(AutoImageProcessor.from_pretrained(tmp_path / "saved")) is ImageCodecImageProcessor

    resumed = Trainer(
        fresh(seed=5), arguments(tmp_path / "more", max_steps=6), train_dataset=dataset, eval_dataset=dataset
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    for name, value in resumed.model.state_dict().items():
        torch.testing.assert_close(value, run.model.state_dict()[name], msg=name)
