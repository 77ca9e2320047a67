"""Continuous modalities: latents are read through a projector, and drawn by a flow."""

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from hf_tokext import ModalityError
from hf_tokext.models.multimodal.flow_head import FlowHead, LatentScale
from tests.models.multimodal.conftest import make, picture


def latent(**options):
    return make("image", "speech", quantizer="none", **options)


def test_the_direction_is_from_noise_to_latent():
    """The sign: a head that says where one fixed latent lies leads every noise there, in any number of steps."""
    wanted = torch.tensor([1.5, -2.0, 0.25])

    class Right(FlowHead):
        def forward(self, latents, times, hidden):
            # mixed = (1 - t) * wanted + t * noise, and the direction is wanted - noise
            return (wanted - latents) / times[:, None]

    head = Right(3, 8, 1)
    for steps in (1, 4, 20):
        torch.testing.assert_close(head.draw(torch.zeros(5, 8), steps), wanted.expand(5, 3))
    assert head.loss(wanted.expand(64, 3), torch.zeros(64, 8)).max() < 1e-6


def test_a_head_learns_a_distribution_that_depends_on_what_was_read():
    torch.manual_seed(0)
    head = FlowHead(2, 32, 2)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    head.reset_parameters()
    centres = torch.tensor([[2.0, 0.0], [-2.0, 1.0]])
    states = torch.randn(2, 32)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    first = None
    for _ in range(400):
        kind = torch.randint(0, 2, (256,))
        loss = head.loss(centres[kind] + 0.3 * torch.randn(256, 2), states[kind]).mean()
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first
    for kind in (0, 1):
        drawn = head.draw(states[kind].expand(2000, 32), 20, torch.Generator().manual_seed(1))
        assert (drawn.mean(0) - centres[kind]).abs().max() < 0.15
        assert (drawn.std(0) - 0.3).abs().max() < 0.12
    same = [head.draw(states[:1], 5, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*same)


def test_latents_are_brought_to_unit_size_by_what_was_seen():
    scale = LatentScale(3)
    scale.reset_parameters()
    values = torch.randn(500, 3, dtype=torch.float64) * torch.tensor([2.0, 0.1, 5.0]) + torch.tensor([1.0, -3.0, 0.0])
    assert torch.equal(scale(values), values.float())
    for part in values.split(123):
        scale.learn(part)
    found = scale(values).double()
    torch.testing.assert_close(found.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std(0, unbiased=False), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(scale.back(scale(values)), values.float(), atol=1e-4, rtol=1e-4)


def test_latents_are_read_where_placeholders_stand():
    model, processor = latent()
    given = processor("see <|image|> the cat", images=picture())
    sense = model.senses["image"]
    reading = model.read(given["input_ids"], given)
    assert torch.equal(reading.ids, given["input_ids"])
    embeds = model.embed(reading)
    holes = given["input_ids"] == processor.spaces["image"].placeholder
    wanted = sense.codec.encode(given["image_pixel_values"]).latents
    torch.testing.assert_close(embeds[holes], sense.projector(wanted[0]))
    with torch.no_grad():
        assert torch.equal(
            model(**given).logits, model.backbone(inputs_embeds=embeds, attention_mask=given["attention_mask"]).logits
        )


def test_what_follows_is_generated_and_latents_are_not():
    model, processor = latent()
    with torch.no_grad():
        model.get_output_embeddings().weight[290:] *= 5
    given = processor("see <|image|> the cat", images=picture())
    found = model.generate(**given, max_new_tokens=30, do_sample=True)
    image = processor.spaces["image"]
    assert not any(index in image.markers for index in found[0, given["input_ids"].shape[1] :].tolist())
    assert processor.decode(found[0]).startswith("see <|image|> the cat")
    with pytest.raises(ModalityError, match="generate_latents"):
        model.generate(**given, max_new_tokens=30, only="image")
    for how in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": model}):  # upstream's ids would be others
        with pytest.raises(ModalityError, match="assisted generation goes astray"):
            model.generate(**given, **how, max_new_tokens=30)
    with pytest.raises(ModalityError, match="stands for latents"):
        model(given["input_ids"])


def test_labels_of_latents_train_the_head_and_no_row():
    model, processor = latent()
    model.train()
    given = processor("draw", images=picture(), answers="<|image|> so")
    torch.manual_seed(0)
    found = model(**given)
    found.loss.backward()
    sense = model.senses["image"]
    assert sense.flow.to_latent.weight.grad.abs().sum() > 0
    assert sense.scale.count == 6
    assert found.hidden_states is None
    assert model(**given, output_hidden_states=True).hidden_states is not None
    assert isinstance(model(**given, return_dict=False)[0], torch.Tensor)


def test_the_head_begins_with_no_direction():
    sense = latent()[0].senses["image"]
    assert sense.flow.to_latent.weight.abs().sum() == 0 and sense.flow.from_latent.weight.abs().sum() > 0
    assert all(layer.steering.weight.abs().sum() == 0 for layer in sense.flow.layers)


def test_what_the_head_learns_does_not_make_latents_easy_to_guess():
    """The codec learns from its own loss and from what is read; as a target it would shrink its latents."""
    model, processor = latent()
    model.set_tuning("end_to_end", reconstruction_weight=0.0)
    model.train()
    given = processor("draw", images=picture(), answers="<|image|>")
    given["labels"][given["labels"] != processor.spaces["image"].placeholder] = -100
    torch.manual_seed(0)
    sense = model.senses["image"]
    for part in sense.projector.parameters():  # what is read tells the codec nothing
        part.data.zero_()
    torch.nn.init.normal_(sense.flow.to_latent.weight)
    model(**given).loss.backward()
    assert all(part.grad is None or part.grad.abs().sum() == 0 for part in sense.codec.parameters())
    assert sense.flow.to_latent.weight.grad.abs().sum() > 0


def test_each_latent_and_each_id_of_the_labels_counts_as_one(monkeypatch):
    """By hand, whole, in parts as `Trainer` accumulates, and where there are latents alone."""
    monkeypatch.setattr(FlowHead, "loss", lambda self, latents, hidden: latents.new_full((len(latents),), 2.5))
    model, processor = latent()
    rows = [("draw", "<|image|> so it is"), ("see", "the cat")]
    given = [
        processor("draw", images=picture(), answers="<|image|> so it is"),
        processor("see", answers="the cat"),
        processor([row[0] for row in rows], images=picture(), answers=[row[1] for row in rows]),
    ]
    placeholder = processor.spaces["image"].placeholder
    with torch.no_grad():
        whole = given[2]
        read = model.embed(model.read(whole["input_ids"], whole))
        logits = model.backbone(inputs_embeds=read, attention_mask=whole["attention_mask"]).logits.double()
        labels = whole["labels"]
        losses = [
            2.5 if label == placeholder else -logits[row, place - 1].log_softmax(-1)[label].item()
            for row, place in (labels != -100).nonzero().tolist()
            for label in [int(labels[row, place])]
        ]
        wanted = sum(losses) / len(losses)
        assert model(**whole).loss.item() == pytest.approx(wanted, rel=1e-5)
        parts = [model(**each, num_items_in_batch=torch.tensor(len(losses))).loss.item() for each in given[:2]]
        assert sum(parts) == pytest.approx(wanted, rel=1e-5)
        alone = given[0]["labels"].masked_fill(given[0]["labels"] != placeholder, -100)
        assert model(**(dict(given[0]) | {"labels": alone})).loss.item() == pytest.approx(2.5)


def test_latents_are_drawn_one_after_another():
    model, processor = latent(lm="gemma3")
    with torch.no_grad():
        for layer in (
            model.senses["image"].flow.to_latent,
            *(each.steering for each in model.senses["image"].flow.layers),
        ):
            nn.init.normal_(layer.weight, std=0.3)
    processor.tokenizer.padding_side = "left"
    given = processor(["draw a cat", "draw"])
    found = model.generate_latents(**given, name="image", generator=torch.Generator().manual_seed(0))
    assert found.shape == (2, 6, 8)
    again = model.generate_latents(**given, name="image", generator=torch.Generator().manual_seed(0))
    assert torch.equal(found, again)
    # a step by hand, from scratch: the second latent given the first
    sense, start = model.senses["image"], processor.spaces["image"].start
    ids = torch.cat([processor("draw a cat")["input_ids"], torch.tensor([[start]])], 1)
    chance = torch.Generator().manual_seed(0)
    noise = [torch.randn(2, 8, generator=chance) for _ in range(2)]
    embeds = model.get_input_embeddings()(ids)

    def draw(embeds, start):
        with torch.no_grad():
            hidden = model.backbone(inputs_embeds=embeds, output_hidden_states=True).hidden_states[-1][:, -1]
            for step in range(20, 0, -1):
                start = start + sense.flow(start, torch.full((1,), step / 20), hidden) / 20
        return start

    first = draw(embeds, noise[0][:1])
    torch.testing.assert_close(found[:1, 0], sense.scale.back(first), atol=1e-4, rtol=1e-4)
    second = draw(torch.cat([embeds, sense.projector(first)[:, None]], 1), noise[1][:1])
    torch.testing.assert_close(found[:1, 1], sense.scale.back(second), atol=1e-4, rtol=1e-4)
    assert model.decode_modality("image", found).shape == (2, 3, 16, 16)
    with pytest.raises(ModalityError, match="no continuous modality"):
        model.generate_latents(**given, name="speech")
    with pytest.raises(ModalityError, match="each document of 'image' has 6 latents, not 3"):
        model.generate_latents(**given, name="image", steps=3)
    with pytest.raises(ModalityError, match="at least one flow step"):
        model.generate_latents(**given, name="image", flow_steps=0)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    model, processor = latent()
    model.train()
    given = processor("see <|image|>", images=picture(), answers="the cat <|speech|>", audio=[torch.randn(40)])
    model(**given)
    model.eval().save_pretrained(tmp_path)
    found = type(model).from_pretrained(tmp_path)
    assert torch.equal(found.senses["image"].scale.mean, model.senses["image"].scale.mean)
    assert found.senses["image"].scale.count == 6
    with torch.no_grad():
        assert torch.equal(model(**given).logits, found(**given).logits)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_keeps_what_draws(tmp_path):
    model, processor = latent()
    model.save_pretrained(tmp_path / "base")
    model_before = type(model).from_pretrained(tmp_path / "base")
    own = ["projector", "flow", "scale"]
    tuned = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=own, task_type="CAUSAL_LM")
    )
    optimizer = torch.optim.SGD([each for each in tuned.parameters() if each.requires_grad], lr=0.1)
    given = processor("draw", images=picture(), answers="<|image|> so")
    for _ in range(2):
        tuned.train()(**given).loss.backward()
        optimizer.step()
    tuned.eval().save_pretrained(tmp_path / "adapter")
    found = PeftModel.from_pretrained(type(model).from_pretrained(tmp_path / "base"), tmp_path / "adapter").eval()

    def drawn(model):
        return model.generate_latents(
            processor("draw")["input_ids"], "image", generator=torch.Generator().manual_seed(0)
        )

    wanted = drawn(tuned.base_model.model)
    assert not torch.allclose(drawn(model_before), wanted, atol=1e-2)
    torch.testing.assert_close(drawn(found.base_model.model), wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(drawn(found.merge_and_unload()), wanted, atol=1e-4, rtol=1e-4)
