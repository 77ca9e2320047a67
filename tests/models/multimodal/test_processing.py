"""Texts with values in them become ids, and ids become texts and codes; what does not fit is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

from hf_tokext import CodecError, ModalityError, MultimodalProcessor, VocabularyError
from hf_tokext.vocabulary.spaces import Spaces
from tests.models.multimodal.conftest import RATE, batch, make, picture, sound

CHAT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"


@pytest.fixture(scope="module")
def made():
    return make()


def test_placeholders_become_as_many_as_there_are_codes(made):
    model, processor = made
    found = batch(processor)
    spaces = processor.spaces
    image, speech, grid = spaces["image"], spaces["speech"], spaces["depth"]
    first, second = ([i for i, seen in zip(*pair, strict=True) if seen] for pair in zip(
        found["input_ids"].tolist(), found["attention_mask"].tolist(), strict=True))  # fmt: skip
    text = processor.tokenizer
    assert first == [
        *text("see ")["input_ids"], image.start, *[image.placeholder] * 18, image.end, *text(" the cat")["input_ids"],
    ]  # fmt: skip
    # 60 and 35 samples are 8 and 5 places of 8, with two codes each
    assert second == [
        *text("the ")["input_ids"], speech.start, *[speech.placeholder] * 16, speech.end, *text(" and ")["input_ids"],
        grid.start, *[grid.placeholder] * 16, grid.end, *text(" on ")["input_ids"],
        speech.start, *[speech.placeholder] * 10, speech.end,
    ]  # fmt: skip
    assert set(found) == {
        "input_ids", "attention_mask", "image_pixel_values", "speech_input_values", "speech_padding_mask",
        "depth_pixel_values", "depth_pixel_mask",
    }  # fmt: skip


def test_answers_are_learnt_and_what_is_read_is_not(made):
    _, processor = made
    found = processor(["see <|image|>"], images=[picture(), picture(1)], answers=["it is <|image|>"])
    ids, labels = found["input_ids"][0], found["labels"][0]
    image = processor.spaces["image"]
    read = len(processor.tokenizer("see ")["input_ids"]) + 20
    assert (labels[:read] == -100).all() and torch.equal(labels[read:], ids[read:])
    assert (labels == image.placeholder).sum() == 18 and (ids == image.placeholder).sum() == 36
    assert ids[-1] == processor.tokenizer.eos_token_id


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_padded_on_the_side_of_the_tokenizer(made, side):
    _, processor = made
    processor.tokenizer.padding_side, before = side, processor.tokenizer.padding_side
    try:
        found = processor(["a", "see <|image|>"], images=picture(), answers=["b", "c"])
    finally:
        processor.tokenizer.padding_side = before
    mask = found["attention_mask"][0]
    assert mask.sum() < len(mask) and (mask[-1] == 1) == (side == "left")
    assert (found["labels"][0][mask == 0] == -100).all()
    assert (found["input_ids"][0][mask == 0] == processor.tokenizer.pad_token_id).all()


def test_codes_in_place_of_values_give_the_same_ids_as_the_model_reads(made):
    model, processor = made
    given = batch(processor)
    read = model.read(given["input_ids"], given).ids
    encoded = {
        "image": model.senses["image"].codec.encode(given["image_pixel_values"]),
        "speech": model.senses["speech"].codec.encode(given["speech_input_values"], given["speech_padding_mask"]),
        "depth": model.senses["depth"].codec.encode(given["depth_pixel_values"], given["depth_pixel_mask"]),
    }
    codes = {
        name: [row[:, seen] for row, seen in zip(each.codes, each.mask, strict=True)] for name, each in encoded.items()
    }
    texts = ["see <|image|> the cat", "the <|speech|> and <|depth|> on <|speech|>"]
    assert torch.equal(processor(texts, codes=codes)["input_ids"], read)
    first, second = (processor.parts(row) for row in read)
    assert (first.text.strip("<pad>"), second.text) == (texts[0], texts[1])
    assert torch.equal(first.codes["image"][0], codes["image"][0])
    assert all(torch.equal(*pair) for pair in zip(second.codes["speech"], codes["speech"], strict=True))
    assert torch.equal(second.codes["depth"][0], codes["depth"][0])


def test_a_document_that_was_cut_off_is_left_out(made):
    _, processor = made
    image = processor.spaces["image"]
    ids = [*processor.tokenizer("the cat")["input_ids"], image.start, image.base, image.base + 8]
    found = processor.parts(ids)
    assert found.text == "the cat" and found.codes["image"] == []
    assert processor.decode(ids) == "the cat"
    assert processor.decode([ids, ids]) == processor.batch_decode(torch.tensor([ids, ids])) == ["the cat"] * 2


def test_it_comes_back(made, tmp_path):
    _, processor = made
    processor.save_pretrained(tmp_path)
    found = AutoProcessor.from_pretrained(tmp_path)
    assert type(found) is MultimodalProcessor
    assert json.loads((tmp_path / "processor_config.json").read_text())["auto_map"]
    assert found.spaces == processor.spaces
    one, other = batch(processor), batch(found)
    assert set(one) == set(other) and all(torch.equal(one[key], other[key]) for key in one)
    found.save_pretrained(tmp_path / "again")
    assert batch(AutoProcessor.from_pretrained(tmp_path / "again")).keys() == one.keys()


def test_values_of_many_kinds_are_taken(made, tmp_path):
    _, processor = made
    path = tmp_path / "picture.png"
    Image.fromarray(picture()).save(path)
    wanted = processor("<|image|>", images=picture())["image_pixel_values"]
    for given in (
        Image.open(path),
        str(path),
        [picture()],
        [[picture()]],
        torch.from_numpy(picture()).permute(2, 0, 1),
    ):
        found = processor("<|image|>", image=given)["image_pixel_values"]
        assert torch.equal(found, wanted)
    other = processor("<|speech|>", audio=np.repeat(sound(), 2), sampling_rate=2 * RATE)
    assert other["speech_padding_mask"].sum() == 60


def test_conversations_hold_values(made):
    _, processor = made
    messages = [
        {"role": "user", "content": [
            {"type": "image", "image": picture()}, {"type": "text", "text": " and "}, {"type": "audio", "audio": sound()},
        ]},
        {"role": "assistant", "content": "the cat"},
    ]  # fmt: skip
    text = processor.apply_chat_template(messages, chat_template=CHAT, add_generation_prompt=True)
    assert text == "[user]<|image|> and <|speech|>[assistant]the cat[assistant]"
    found = processor.apply_chat_template(messages, chat_template=CHAT, tokenize=True, return_dict=True)
    assert found["image_pixel_values"].shape == (1, 3, 16, 16) and found["speech_padding_mask"].sum() == 60
    assert (found["input_ids"] == processor.spaces["speech"].placeholder).sum() == 16
    with pytest.raises(ModalityError, match="holds 'video'"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "video"}]}], chat_template=CHAT)
    with pytest.raises(ModalityError, match="'image' without a value"):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}]}], chat_template=CHAT)


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("a cat", {"images": picture()}, r"0 placeholders <\|image\|>, and there are 1 of 'image': one is missing"),
        ("<|image|> <|image|>", {"images": picture()}, "2 placeholders .*: give one for each"),
        ("<|image|>", {"images": [picture(), picture()]}, "1 placeholders .* there are 2"),
        ("<|image|>", {}, "1 placeholders .* there are 0"),
        ("<|image|>", {"pictures": picture()}, "'pictures' is no argument"),
        ("<|image|>", {"codes": {"photo": []}, "images": picture()}, "no modality 'photo'"),
        ("<|image|>", {"codes": {"image": [torch.zeros(3, 6)]}, "images": picture()}, "as values and as codes"),
        ([], {}, "one text per row"),
        (["a", "b"], {"answers": ["c"]}, "one answer if any"),
        (["a", ""], {}, "row 1 is empty"),
        ("<|image|>", {"images": picture(), "max_length": 10}, "has 20 ids, more than max_length=10"),
        ("<|image|>", {"images": picture(), "max_length": 10, "truncation": True}, "cut away some of 'image'"),
        (["a", "a longer one"], {"padding": False}, "several lengths"),
    ],
)
def test_what_does_not_fit_is_refused(made, text, given, message):
    with pytest.raises(ModalityError, match=message):
        made[1](text, **given)


def test_text_behind_a_modality_may_be_cut(made):
    found = made[1]("<|image|> the cat sat on the mat", images=picture(), truncation=True, max_length=22)
    assert found["input_ids"].shape == (1, 22)


def test_codes_that_do_not_fit_are_refused(made):
    with pytest.raises(VocabularyError, match="has 6 places, not 5"):
        made[1]("<|image|>", codes={"image": [torch.zeros(3, 5, dtype=torch.long)]})
    with pytest.raises(VocabularyError, match="codebook 0 of 'image' has the codes 0 to 7, and 8"):
        made[1]("<|image|>", codes={"image": [torch.full((3, 6), 8)]})
    with pytest.raises(CodecError):
        made[1]("<|speech|>", audio=sound(), sampling_rate=0)


def test_tokens_added_behind_the_markers_are_refused(made):
    _, processor = made
    tokenizer = make()[1].tokenizer
    markers = len(tokenizer)
    assert processor.spaces["image"].base == markers  # no room between: the next token would take a code's id
    tokenizer.add_tokens(["<new>"])
    with pytest.raises(VocabularyError, match="'<new>' has id .* which is that of a code"):
        MultimodalProcessor(tokenizer, processor.extractors)


def test_extractors_of_other_modalities_are_refused(made):
    _, processor = made
    with pytest.raises(ModalityError, match="extractors of"):
        MultimodalProcessor(processor.tokenizer, {"image": processor.extractors["image"]})
    assert list(Spaces.read(processor.tokenizer).codes) == list(processor.spaces)


def test_depth_and_sounds_come_back_as_files_have_them(made):
    model, processor = made
    given = batch(processor)
    spoken = model.senses["speech"].codec.encode(given["speech_input_values"], given["speech_padding_mask"])
    waves = processor.post_process("speech", model.decode_modality("speech", spoken.codes, spoken.mask))
    assert [each.shape for each in waves] == [(64,), (64,)]
    seen = model.senses["image"].codec.encode(given["image_pixel_values"])
    (image,) = processor.post_process("image", model.decode_modality("image", seen.codes))
    assert image.size == (16, 16)
    far = model.senses["depth"].codec.encode(given["depth_pixel_values"])
    (found,) = processor.post_process("depth", model.decode_modality("depth", far.codes))
    assert found.shape[-2:] == (16, 16)
    with pytest.raises(ModalityError, match="no modality 'photo'"):
        processor.post_process("photo", waves)
    with pytest.raises(ModalityError, match="no modality 'photo'"):
        model.decode_modality("photo", seen.codes)
