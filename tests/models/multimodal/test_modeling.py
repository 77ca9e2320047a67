"""What the language model reads where codes stand, what it learns from, and what is saved."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM

from hf_tokext import ModalityError, MultimodalConfig, MultimodalForCausalLM, MultimodalModel, UnsupportedModelError
from hf_tokext.models.multimodal.sense import alike
from hf_tokext.registry import CODE_FILE
from tests.models.multimodal.conftest import batch, codecs, make, picture
from tests.tiny_models import tiny

FAMILIES = ("llama", "qwen2", "gemma3", "gpt2", "gpt_neox")


@pytest.mark.parametrize("lm", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_text_is_read_as_before_bit_by_bit(lm, tied):
    base = tiny(lm, vocab_size=290, tied=tied)
    model, _ = make(lm=lm, tied=tied)
    ids = torch.randint(3, 290, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(ids).logits[..., :290], base(ids).logits)
    assert torch.equal(model.get_input_embeddings().weight[:290], base.get_input_embeddings().weight)
    assert (
        model.config.vocab_size == len(model.get_input_embeddings().weight) == len(model.get_output_embeddings().weight)
    )


def test_placeholders_are_read_as_the_codes_that_stand_there():
    model, processor = make(lm="llama", speech={"layout": "delay"}, depth={"layout": "flat"})
    given = batch(processor)
    ids = model.read(given["input_ids"], given).ids
    assert not any((ids == space.placeholder).any() for space in processor.spaces.values())
    with torch.no_grad():
        mask = given["attention_mask"]
        assert torch.equal(model(**given).logits, model(ids, attention_mask=mask).logits)
        assert torch.equal(model(ids, attention_mask=mask).logits, model.backbone(ids, attention_mask=mask).logits)


def test_codes_as_vectors_are_projected_and_all_else_is_as_rows():
    model, processor = make(image={"input": "codebook"})
    given = batch(processor)
    reading = model.read(given["input_ids"], given)
    sense, space = model.senses["image"], processor.spaces["image"]
    embeds = model.embed(reading)
    here = (reading.ids >= space.base) & (reading.ids < space.base + space.size)
    assert here.sum() == 18
    book, code = space.parts(reading.ids[here])
    vectors = torch.stack([
        sense.codec.shares(one[None], other[None])[0] for one, other in zip(book, code, strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(embeds[here], sense.projector(vectors))
    assert torch.equal(embeds[~here], model.get_input_embeddings()(reading.ids)[~here])
    # the vectors of a place add up to what the codec decodes
    codes = sense.codec.encode(given["image_pixel_values"])
    order, place = space.order.order(6)
    summed = torch.zeros(6, vectors.shape[1]).index_add_(0, place, vectors)
    torch.testing.assert_close(summed, codes.latents[0])


@pytest.mark.parametrize("image", ["vq", "rvq", "pq", "additive", "fsq", "lfq", "bsq", "simvq", "ibq"])
def test_shares_of_codes_add_up_for_every_quantizer(image):
    codec, _ = codecs("image", image=image)["image"]
    codes = torch.stack([torch.randint(0, size, (2, 5)) for size in codec.codebook_sizes], 1)
    books = torch.arange(len(codec.codebook_sizes))
    with torch.no_grad():
        for row, time in [(0, 0), (1, 3)]:
            found = codec.shares(books, codes[row, :, time]).sum(0)
            torch.testing.assert_close(found, codec._vectors(codes)[row, time], atol=1e-5, rtol=1e-5)


def test_labels_that_are_placeholders_are_the_codes():
    model, processor = make()
    given = processor(["see"], images=[picture()], answers=["<|image|> the cat"])
    ids = model.read(given["input_ids"], given).ids
    labels = torch.where(given["labels"] == -100, -100, ids)
    with torch.no_grad():
        found, wanted = model(**given).loss, model.backbone(ids, labels=labels).loss
        logits = model(**given).logits[0, :-1].double().log_softmax(-1)
    assert torch.equal(found, wanted)
    by_hand = [-logits[at, target] for at, target in enumerate(labels[0, 1:].tolist()) if target != -100]
    torch.testing.assert_close(found.double(), torch.stack(by_hand).mean())
    assert len(by_hand) == 20 + len(processor.tokenizer(" the cat")["input_ids"]) + 1


def test_the_model_without_head_gives_what_the_head_reads():
    model, processor = make(lm="gemma3", image={"input": "codebook"})
    given = batch(processor)
    with torch.no_grad():
        states = model(**given, output_hidden_states=True).hidden_states[-1]
        bare = MultimodalModel(copy.deepcopy(model.config)).eval()
        bare.load_state_dict(model.state_dict())
        torch.testing.assert_close(bare(**given).last_hidden_state, states)


@pytest.mark.parametrize("lm", ["llama", "gemma3", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_it_is_the_same(lm, tied, tmp_path):
    model, processor = make(lm=lm, tied=tied, image={"input": "codebook"}, speech={"layout": "delay"})
    given = processor(["see <|image|>"], images=picture(), answers=["the cat"])
    model.save_pretrained(tmp_path)
    for auto in (AutoModelForCausalLM, AutoModelForMultimodalLM, MultimodalForCausalLM):
        found, told = auto.from_pretrained(tmp_path, output_loading_info=True)
        assert not (told["missing_keys"] or told["unexpected_keys"] or told["mismatched_keys"])
        assert type(found) is MultimodalForCausalLM
        assert found.generation_config.eos_token_id == model.generation_config.eos_token_id
        for mode in (False, True):
            read = []
            for each in (copy.deepcopy(model), found):
                torch.manual_seed(0)  # GPT-2 has dropout
                with torch.no_grad():
                    read.append(each.train(mode)(**given))
            one, other = read
            assert torch.equal(one.loss, other.loss) and torch.equal(one.logits, other.logits)
    bare = AutoModel.from_pretrained(tmp_path)
    assert type(bare) is MultimodalModel
    entry = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    kinds = ("CausalLM", "ImageTextToText", "MultimodalLM")
    assert set(entry) == {"AutoConfig", "AutoModel", *(f"AutoModelFor{kind}" for kind in kinds)}
    namespace = {}
    exec((tmp_path / CODE_FILE).read_text(), namespace)
    assert {"MultimodalConfig", "MultimodalModel", "MultimodalForCausalLM"} <= set(namespace)
    again = MultimodalConfig.from_pretrained(tmp_path)
    one, other = (json.loads(json.dumps(each.to_dict()["senses"])) for each in (again, model.config))
    assert one == other


def test_codecs_stay_in_float32_so_that_codes_stay_what_they_are(tmp_path):
    model, processor = make(dtype=torch.bfloat16, image={"input": "codebook"})
    assert model.dtype == torch.bfloat16 and model.senses["image"].codec.dtype == torch.float32
    given = batch(processor)
    model.save_pretrained(tmp_path)
    found = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert found.backbone.dtype == torch.bfloat16 and found.senses["image"].codec.dtype == torch.float32
    assert torch.equal(model.read(given["input_ids"], given).ids, found.read(given["input_ids"], given).ids)
    own, other = model.state_dict(), found.state_dict()
    assert all(torch.equal(value, other[name].to(value.dtype)) for name, value in own.items())
    with torch.no_grad():  # what was loaded lies elsewhere in memory, and sums are rounded otherwise
        torch.testing.assert_close(model(**given).logits, found(**given).logits, atol=0.02, rtol=0.02)


def test_it_lies_where_a_device_map_says(tmp_path):
    model, processor = make(image={"input": "codebook"})
    given = batch(processor)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = model(**given).logits
        for place in ("auto", {"": "cpu"}, {"backbone": "cpu", "senses": "cpu"}):
            found = AutoModelForCausalLM.from_pretrained(tmp_path, device_map=place)
            assert torch.equal(found(**given).logits, wanted)


def test_the_language_model_may_lie_on_disk_and_codecs_may_not(tmp_path):
    model, processor = make(image={"input": "codebook"})
    given = batch(processor)
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        wanted = model(**given).logits
        found = AutoModelForCausalLM.from_pretrained(
            tmp_path, device_map={"backbone": "disk", "senses": "cpu"}, offload_folder=tmp_path / "disk"
        )
        assert torch.equal(found(**given).logits, wanted)
    with pytest.raises(ModalityError, match="parts of the codec of 'depth' are offloaded"):
        AutoModelForCausalLM.from_pretrained(
            tmp_path, device_map={"backbone": "cpu", "senses": "disk"}, offload_folder=tmp_path / "disk"
        )


def test_a_codec_in_the_place_of_another_is_refused(tmp_path):
    model, _ = make()
    model.senses["image"].codec.train()(torch.rand(2, 3, 16, 16))  # its counters are no longer 0
    model.eval()._take_fingerprints()
    other, _ = codecs("image", seed=1)["image"]
    model.save_pretrained(tmp_path / "good")
    model.senses["image"].codec, kept = other, model.senses["image"].codec
    with pytest.raises(
        ModalityError, match="codec of 'image' is not the one whose codes the language model has learnt"
    ):
        model.save_pretrained(tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    model.senses["image"].codec = kept
    model.save_pretrained(tmp_path / "bad")
    path = tmp_path / "bad" / "model.safetensors"
    tensors = load_file(path)
    tensors |= {f"senses.image.codec.{name}": value for name, value in other.state_dict().items()}
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(ModalityError, match="codec of 'image'"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "bad")
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        AutoModelForCausalLM.from_pretrained(tmp_path / "good", dtype=dtype)


def test_a_codec_that_went_on_learning_is_another_and_a_rounded_one_is_not():
    """As soon as training has changed a code."""
    model, _ = make("image", quantizer="rvq")
    sense, values = model.senses["image"], torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def codes():
        return copy.deepcopy(sense.codec).eval().encode(values).codes

    def learn(rate, ready):
        optimizer = torch.optim.Adam(sense.codec.parameters(), lr=rate)
        for step in range(60):
            if ready(step):
                return
            optimizer.zero_grad()
            sense.codec(values, return_loss=True).loss.backward()
            optimizer.step()

    sense.codec.train().requires_grad_(True)
    learn(1e-3, lambda step: False)
    codec, known, before = sense.codec, sense.fingerprint(), codes()
    sense.codec = copy.deepcopy(codec).bfloat16()
    assert alike(known, sense.fingerprint())
    for rate in (1e-5, 1e-4, 1e-3):
        sense.codec = copy.deepcopy(codec)
        learn(rate, lambda step: not torch.equal(codes(), before))
        assert not torch.equal(codes(), before) and not alike(known, sense.fingerprint())


def test_a_codec_of_another_size_is_refused():
    model, _ = make("image")
    config = model.config.to_dict()
    config["senses"]["image"]["codec"]["quantizer_options"] = {"size": 9, "codebooks": 3}
    with pytest.raises(Exception, match=r"has codebooks of \[9, 9, 9\] codes, its space \[8, 8, 8\]"):
        MultimodalConfig.from_dict(config)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"input": "sideways"}, "must be one of ids, codebook, latent"),
        ({"input": "latent"}, "has codes, not latents"),
        ({"input": "codebook", "dim": None}, "say their numbers, dim"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"flow_layers": 0}, "must be a whole number, at least 1"),
        ({"projector_size": "wide"}, "must be a whole number, at least 1"),
    ],
)
def test_impossible_configs_are_refused(changed, message):
    config = make("image")[0].config.to_dict()
    config["senses"]["image"] |= changed
    with pytest.raises(Exception, match=message):
        MultimodalConfig.from_dict(config)


@pytest.mark.parametrize("name", ["train", "attention", "input", "text", "max", "num"])
def test_names_that_would_be_taken_for_others_are_refused(name):
    sense = make("image")[0].config.to_dict()["senses"]["image"]
    sense["space"]["name"] = name
    with pytest.raises(Exception, match=f"a modality cannot be called '{name}'"):
        MultimodalConfig(senses={name: sense})


def test_spaces_with_common_ids_are_refused():
    config = make("image", "speech")[0].config.to_dict()
    config["senses"]["speech"]["space"]["base"] -= 1
    with pytest.raises(Exception, match="share ids"):
        MultimodalConfig.from_dict(config)


def test_what_does_not_fit_is_refused():
    model, processor = make()
    given = batch(processor)
    with pytest.raises(ModalityError, match="placeholders of 'depth' stand in the ids, and there are no values"):
        model(given["input_ids"])
    less = given["input_ids"].masked_fill(given["input_ids"] == processor.spaces["image"].placeholder, 5)
    with pytest.raises(ModalityError, match="0 placeholders of 'image' .* its codec gives 18 codes"):
        model(**(dict(given) | {"input_ids": less}))
    with pytest.raises(ModalityError, match="needs image_pixel_values"):
        model(**(dict(given) | {"image_pixel_values": None, "image_colours": given["image_pixel_values"]}))
    with pytest.raises(ModalityError, match="not inputs_embeds"):
        model(inputs_embeds=torch.zeros(1, 2, 16), image_pixel_values=given["image_pixel_values"])
    least = int(max(space.grammar_ids.max() for space in processor.spaces.values())) + 1
    with pytest.raises(UnsupportedModelError, match="codes would lose|rows are too few"):
        model.resize_token_embeddings(least - 1)
    assert len(model.resize_token_embeddings(least + 7).weight) == least + 7 == model.config.vocab_size


def test_names_that_begin_alike_are_told_apart():
    image, extractor = codecs("image")["image"]
    from hf_tokext import extend_with_codecs
    from tests.tokenizers import byte_level

    other = copy.deepcopy(image)
    model, processor = extend_with_codecs(
        tiny("llama", vocab_size=290), byte_level(),
        {"image": (image, extractor), "image_two": (other, extractor)}, calibrate=False,
    )  # fmt: skip
    given = processor("<|image|> <|image_two|>", image=picture(), image_two=picture(1))
    ids = model.read(given["input_ids"], given).ids[0]
    found = processor.parts(ids)
    assert torch.equal(found.codes["image"][0], image.encode(given["image_pixel_values"]).codes[0])
    assert torch.equal(found.codes["image_two"][0], other.encode(given["image_two_pixel_values"]).codes[0])
    with pytest.raises(ModalityError, match="'images' is no argument, and names no one modality"):
        processor("<|image|>", images=picture())
