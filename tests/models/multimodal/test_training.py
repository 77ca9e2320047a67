"""What learns under each tuning, with Trainer and with PEFT."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from hf_tokext import ModalityError, trainable_rows
from tests.models.multimodal.conftest import batch, make, picture

WAYS = ("frozen", "projector", "end_to_end")


def learnt(model):
    """Names of what learns, without the last parts."""
    return {
        "codec" if ".codec." in name else "projector" if ".projector." in name else "lm"
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


@pytest.mark.parametrize(
    ("tuning", "wanted"),
    [("frozen", {"lm", "projector"}), ("projector", {"projector"}), ("end_to_end", {"lm", "projector", "codec"})],
)
def test_each_tuning_trains_its_part_and_is_kept(tuning, wanted, tmp_path):
    model, processor = make(image={"input": "codebook"})
    model.set_tuning(tuning, reconstruction_weight=0.5)
    assert learnt(model) == wanted
    model.save_pretrained(tmp_path)
    found = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert learnt(found) == wanted and found.config.reconstruction_weight == 0.5
    before = copy.deepcopy(found.state_dict())
    found.train()
    optimizer = torch.optim.SGD([each for each in found.parameters() if each.requires_grad], lr=0.1)
    found(**processor("see <|image|>", images=picture(), answers="the cat")).loss.backward()
    optimizer.step()
    changed = {
        "codec" if ".codec." in name else "projector" if ".projector." in name else "lm"
        for name, value in found.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == wanted


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq", "ibq"])
def test_the_encoder_learns_from_what_is_written_alone(quantizer):
    model, processor = make("image", quantizer=quantizer, image={"input": "codebook"})
    model.set_tuning("end_to_end", reconstruction_weight=0.0)
    model.train()
    given = processor("see <|image|>", images=picture(), answers="the cat")
    model(**given).loss.backward()
    codec = model.senses["image"].codec
    assert codec.from_pixels.weight.grad.abs().sum() > 0
    decoder = codec.to_pixels.weight.grad
    assert decoder is None or not decoder.any()  # nothing was asked of it


def test_the_gradient_is_that_of_the_quantized_vectors():
    """Straight through: what reaches the latents is the sum over the codes of a place, by hand."""
    model, processor = make("image", image={"input": "codebook"})
    given = processor("see <|image|>", images=picture(), answers="the cat")
    model.set_tuning("end_to_end", reconstruction_weight=0.0)
    model.train()
    reading = model.read(given["input_ids"], given, learn=True)
    latents = reading.latents["image"]
    latents.retain_grad()
    embeds = model.embed(reading)
    embeds.retain_grad()
    model.backbone(inputs_embeds=embeds, labels=given["labels"]).loss.backward()
    space, sense = processor.spaces["image"], model.senses["image"]
    here = (reading.ids >= space.base) & (reading.ids < space.base + space.size)
    vectors = sense.vectors(reading.ids[here]).detach().requires_grad_()
    sense.projector(vectors).backward(embeds.grad[here])
    torch.testing.assert_close(latents.grad, vectors.grad)


@pytest.mark.parametrize("quantizer", ["vq", "ibq", "simvq", "fsq", "bsq"])
def test_the_codec_gets_the_gradient_of_its_own_vectors_once(quantizer):
    """Codebooks that learn by gradient too: as if the projector stood on the codec's own output."""
    model, processor = make("image", quantizer=quantizer, image={"input": "codebook"})
    model.set_tuning("end_to_end", reconstruction_weight=0.0)
    model.train()
    given = processor("see <|image|>", images=picture(), answers="the cat")
    sense, found = model.senses["image"], []
    torch.manual_seed(0)
    reading = model.read(given["input_ids"], given, learn=True)
    here = (reading.ids >= sense.space.base) & (reading.ids < sense.space.base + sense.space.size)
    weights = torch.randn(int(here.sum()), 16, generator=torch.Generator().manual_seed(1))
    for by_hand in (False, True):
        model.zero_grad()
        if by_hand:
            torch.manual_seed(0)
            latents = sense.codec(given["image_pixel_values"], return_loss=True).latents[0]
            embeds = sense.projector(latents[sense.space.order.order(len(latents))[1]])
        else:
            embeds = model.embed(reading)[here]
        (embeds * weights).sum().backward()
        found.append({name: value.grad for name, value in sense.codec.named_parameters() if value.grad is not None})
    one, other = found
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], msg=name, atol=1e-5, rtol=1e-4)


def test_codes_are_the_same_under_autocast():
    model, processor = make()
    given = batch(processor)
    for seed in range(20):
        given["image_pixel_values"] = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        ids = model.read(given["input_ids"], given).ids
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.read(given["input_ids"], given).ids, ids)


def test_an_lm_whose_weights_are_integers_is_taken():
    model, _ = make(image={"input": "codebook"})
    layer = model.backbone.model.layers[0].self_attn.q_proj  # as quantized layers have them
    layer.weight = torch.nn.Parameter(torch.zeros(4, 4, dtype=torch.uint8), requires_grad=False)
    for tuning in WAYS:
        model.set_tuning(tuning)
        assert not layer.weight.requires_grad


def test_the_whole_loss_has_the_codecs_own_in_it():
    model, processor = make("image", image={"input": "codebook"})
    given = processor("see <|image|>", images=picture(), answers="the cat")
    model.set_tuning("end_to_end", reconstruction_weight=0.0)
    losses = []
    for weight in (0.0, 0.25, 1.0):
        again = copy.deepcopy(model)
        again.set_tuning("end_to_end", reconstruction_weight=weight)
        torch.manual_seed(0)
        losses.append(again.train()(**given).loss.item())
    assert losses[1] - losses[0] == pytest.approx((losses[2] - losses[0]) / 4, rel=1e-4)
    assert losses[2] > losses[0]


def test_frozen_codecs_learn_nothing_in_training_mode():
    model, processor = make("image", "speech")
    model.train()
    before = copy.deepcopy({name: value for name, value in model.state_dict().items() if ".codec." in name})
    model(**processor("<|image|>", images=picture(), answers="the cat")).loss.backward()
    now = model.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in before.items())
    assert model.senses["image"].codec.training  # the mode is given back


def test_codes_that_were_made_before_are_refused_where_codecs_learn():
    model, processor = make("image", image={"input": "codebook"})
    given = processor("see <|image|>", images=picture(), answers="the cat")
    ids = model.read(given["input_ids"], given).ids
    model.set_tuning("end_to_end")
    with pytest.raises(ModalityError, match="were made before its codec learned"):
        model.train()(ids, labels=given["labels"])
    assert model.eval()(ids).logits.isfinite().all()  # reading them is another thing


def test_after_learning_the_codec_is_the_new_one(tmp_path):
    model, processor = make("image", image={"input": "codebook"})
    model.set_tuning("end_to_end", reconstruction_weight=1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for seed in range(3):
        given = processor("see <|image|>", images=picture(seed), answers="the cat")
        model.train()(**given).loss.backward()
        optimizer.step()
    model.eval().save_pretrained(tmp_path / "one")
    AutoModelForCausalLM.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    model.set_tuning("frozen")
    model.save_pretrained(tmp_path / "three")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "three")
    with torch.no_grad():
        torch.testing.assert_close(found(**given).logits, model(**given).logits)


def test_impossible_tunings_are_refused():
    model, _ = make("image")
    with pytest.raises(ModalityError, match="one of frozen, projector, end_to_end"):
        model.set_tuning("sideways")
    with pytest.raises(ModalityError, match="no modality has a projector"):
        model.set_tuning("projector")


class Rows(torch.utils.data.Dataset):
    def __init__(self, processor, count=8):
        self.rows = [
            processor(
                "see <|image|>", images=picture(seed % 4), answers=["the cat", "a dog", "a bee", "the log"][seed % 4]
            )
            for seed in range(count)
        ]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return {name: value[0] for name, value in self.rows[index].items() if name != "image_pixel_values"} | {
            "image_pixel_values": self.rows[index]["image_pixel_values"][0]
        }


@pytest.mark.parametrize("tuning", WAYS)
def test_a_trainer_trains_it_and_its_checkpoint_goes_on(tuning, tmp_path):
    model, processor = make("image", image={"input": "codebook"})
    model.set_tuning(tuning)
    rows = Rows(processor)
    length = max(len(row["input_ids"]) for row in rows)

    def collate(batch):
        def padded(name, value):
            return torch.stack([
                torch.nn.functional.pad(row[name], (0, length - len(row[name])), value=value) for row in batch
            ])  # fmt: skip

        return {
            "input_ids": padded("input_ids", 0), "attention_mask": padded("attention_mask", 0),
            "labels": padded("labels", -100),
            "image_pixel_values": torch.stack([row["image_pixel_values"] for row in batch]),
        }  # fmt: skip

    options = {
        "output_dir": tmp_path / "run", "learning_rate": 1e-2, "per_device_train_batch_size": 4, "report_to": [],
        "remove_unused_columns": False, "save_steps": 6, "use_cpu": True, "disable_tqdm": True,
        "gradient_accumulation_steps": 2 if tuning == "end_to_end" else 1,
    }  # fmt: skip
    trainer = Trainer(model, TrainingArguments(max_steps=12, **options), collate, train_dataset=rows, eval_dataset=rows)
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < first
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint-12").eval()
    given = batch_of(processor)
    with torch.no_grad():
        assert torch.equal(found(**given).logits, model.eval()(**given).logits)


def batch_of(processor):
    return processor(["see <|image|>"], images=[picture()], answers=["the cat"])


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("tied", [True, False])
def test_peft_trains_the_rows_of_the_codes_and_comes_back(tied, tmp_path):
    model, processor = make(tied=tied, image={"input": "codebook"})
    model.save_pretrained(tmp_path / "base")
    given = batch(processor)
    labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
    ids = sorted({int(index) for space in processor.spaces.values() for index in space.grammar_ids})
    config = LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], trainable_token_indices=trainable_rows(model, ids),
        modules_to_save=["projector"], task_type="CAUSAL_LM",
    )  # fmt: skip
    tuned = get_peft_model(model, config)
    before = model.get_input_embeddings().weight.detach().clone()
    optimizer = torch.optim.SGD([each for each in tuned.parameters() if each.requires_grad], lr=1.0)
    for _ in range(2):
        tuned.train()
        tuned(**given, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    tuned.eval()
    rows = tuned.get_input_embeddings()(torch.arange(len(before)))
    assert torch.equal(rows[:290], before[:290]) and not torch.equal(rows[ids], before[ids])
    with torch.no_grad():
        wanted = tuned(**given).logits
    tuned.save_pretrained(tmp_path / "adapter")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    found = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(found(**given).logits, wanted)
        one, other = (
            each.generate(**processor("the <|image|>", images=picture()), max_new_tokens=30) for each in (found, tuned)
        )
    assert torch.equal(one, other)
    merged = found.merge_and_unload()
    with torch.no_grad():
        torch.testing.assert_close(merged(**given).logits, wanted, atol=1e-5, rtol=1e-5)
    merged.save_pretrained(tmp_path / "merged")
    with torch.no_grad():
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(loaded(**given).logits, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_end_to_end_under_an_adapter_is_refused():
    """PEFT freezes the codecs, and their codebooks would learn what no adapter holds."""
    model, processor = make(image={"input": "codebook"})
    model.set_tuning("end_to_end")
    tuned = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")).train()
    before = {name: each.clone() for name, each in model.senses.state_dict().items()}
    with pytest.raises(ModalityError, match="all that they have is frozen, as PEFT does it"):
        tuned(**batch_of(processor))
    assert all(torch.equal(each, before[name]) for name, each in model.senses.state_dict().items())
    assert tuned.eval()(**batch_of(processor)).loss.isfinite()


def test_gradient_checkpointing_changes_nothing():
    model, processor = make("image", image={"input": "codebook"})
    given = batch_of(processor)
    plain = copy.deepcopy(model).train()
    plain(**given).loss.backward()
    model.activation_checkpointing_enable()
    model.train()(**given).loss.backward()
    for (name, one), (_, other) in zip(plain.named_parameters(), model.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, msg=name)
