"""Texts with values in them become ids, and ids become texts and codes; what does not fit is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, DacFeatureExtractor, EncodecFeatureExtractor, pipeline

from hf_tokext import (
    CodecError,
    ModalityError,
    MultimodalForCausalLM,
    MultimodalProcessor,
    VocabularyError,
    extend_with_codecs,
)
from hf_tokext.vocabulary.spaces import Spaces
from tests.models.audio_codec.test_audio_codec import made as wrapped
from tests.models.multimodal.conftest import RATE, batch, make, picture, sound
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

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
    assert processor.decode(ids) == "the cat" and processor.decode(ids[0]) == processor.tokenizer.decode(ids[0])
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


def test_settings_of_the_call_go_through_a_conversation(made):
    _, processor = made
    spoken = [{"role": "user", "content": [{"type": "audio", "audio": np.repeat(sound(), 2)}]}]
    for how in ({"sampling_rate": 2 * RATE}, {"processor_kwargs": {"sampling_rate": 2 * RATE}}):
        found = processor.apply_chat_template(spoken, chat_template=CHAT, tokenize=True, return_dict=True, **how)
        assert found["speech_padding_mask"].sum() == 60
    written = [[{"role": "user", "content": "a"}], [{"role": "user", "content": "a cat"}]]
    found = processor.apply_chat_template(
        written, chat_template=CHAT, tokenize=True, return_dict=True, padding="max_length", max_length=40
    )
    assert found["input_ids"].shape == (2, 40)


def test_lists_per_row_belong_to_their_rows(made):
    _, processor = made
    texts = ["<|image|>", "<|image|> <|image|>"]
    flat = processor(texts, images=[picture(0), picture(1), picture(2)])
    rows = processor(texts, images=[[picture(0)], [picture(1), picture(2)]])
    assert torch.equal(flat["image_pixel_values"], rows["image_pixel_values"])
    with pytest.raises(ModalityError, match=r"rows have \[1, 2\] placeholders <\|image\|>, and lists of \[2, 1\]"):
        processor(texts, images=[[picture(0), picture(1)], [picture(2)]])


@pytest.mark.parametrize("kind", ["encodec", "dac", "mimi"])
def test_codecs_of_transformers_with_their_own_extractors(kind):
    codec = wrapped(kind)
    options = {"sampling_rate": 16000} | ({"hop_length": codec.hop} if kind == "dac" else {"feature_size": 1})
    extractor = (DacFeatureExtractor if kind == "dac" else EncodecFeatureExtractor)(**options)
    base = tiny("llama", vocab_size=290)
    model, processor = extend_with_codecs(base, byte_level(), {"speech": (codec, extractor)}, calibrate=False)
    waves = [sound(20 * codec.hop), sound(7 * codec.hop + 3, 1)]
    given = processor(["hear <|speech|> so", "<|speech|>"], audio=waves, sampling_rate=16000)
    rows = [processor.parts(row) for row in model.read(given["input_ids"], given).ids]
    for wave, row, places in zip(waves, rows, (20, 8), strict=True):
        (codes,) = row.codes["speech"]
        assert codes.shape == (len(codec.codebook_sizes), places)
        alone = extractor(wave, sampling_rate=16000, return_tensors="pt")
        assert torch.equal(codes, codec.encode(alone["input_values"], alone["padding_mask"]).codes[0])


def test_a_list_of_numbers_is_one_sound(made):
    _, processor = made
    one = processor("<|speech|>", audio=sound().tolist())
    two = processor("<|speech|> <|speech|>", audio=[sound().tolist()] * 2)
    wanted = torch.from_numpy(sound())
    assert torch.equal(one["speech_input_values"][0, 0, :60], wanted)
    assert torch.equal(two["speech_input_values"][1, 0, :60], wanted)


def test_texts_show_what_stands_there_before_and_after_it_is_read(made):
    model, processor = made
    given = processor("see <|image|> the cat", images=picture())
    for ids in (given["input_ids"], model.read(given["input_ids"], given).ids):
        assert processor.decode(ids[0]) == "see <|image|> the cat"
        assert processor.post_process_image_text_to_text(ids) == ["see <|image|> the cat"]
    speech = processor.spaces["speech"]
    cut = [*processor.tokenizer("a")["input_ids"], speech.start, speech.base, speech.base + 8]  # a place, and no end
    assert processor.parts(cut).codes["speech"] == [] and processor.decode(cut) == "a"


@pytest.mark.parametrize("task", ["image-text-to-text", "any-to-any"])
def test_pipelines_of_transformers_take_it(made, task, tmp_path):
    for each in made:
        each.save_pretrained(tmp_path)
    run = pipeline(task, model=tmp_path, device="cpu")
    assert type(run.model) is MultimodalForCausalLM and type(run.processor) is MultimodalProcessor
    given = {"images": Image.fromarray(picture()), "text": "see <|image|> the"}
    whole, rest = (run(given, max_new_tokens=6, return_full_text=full)[0]["generated_text"] for full in (True, False))
    inputs = made[1](given["text"], images=picture())
    row = made[0].generate(**inputs, max_new_tokens=6)[0]
    assert whole == given["text"] + rest == made[1].decode(row, skip_special_tokens=True)


def test_names_of_what_a_call_gives(made):
    assert set(made[1].model_input_names) == set(batch(made[1]))


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("a cat", {"images": picture()}, r"0 placeholders <\|image\|>, and there are 1 of 'image': one is missing"),
        ("<|image|> <|image|>", {"images": picture()}, "2 placeholders .*: give one for each"),
        ("<|image|>", {"images": [picture(), picture()]}, "1 placeholders .* there are 2"),
        ("<|image|>", {}, "1 placeholders .* there are 0"),
        ("<|image|>", {"pictures": picture()}, "'pictures' is no argument"),
        ("<|image|>", {"images": picture(), "image": picture()}, "'image' is given twice"),
        ("<|image|>", {"codes": {"photo": []}, "images": picture()}, "no modality 'photo'"),
        ("<|image|>", {"codes": {"image": [torch.zeros(3, 6)]}, "images": picture()}, "as values and as codes"),
        ([], {}, "one text per row"),
        (["a", "b"], {"answers": ["c"]}, "one answer if any"),
        (["a", ""], {}, "row 1 is empty"),
        ("<|image|>", {"images": picture(), "max_length": 10}, "has 20 ids, more than max_length=10"),
        ("<|image|>", {"images": picture(), "max_length": 10, "truncation": True}, "cut away some of 'image'"),
        (["a", "a longer one"], {"padding": False}, "several lengths"),
        (["a", "a longer one"], {"padding": "do_not_pad"}, "several lengths"),
        ("a", {"padding": "max_length"}, "needs max_length"),
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
    with pytest.raises(ModalityError, match=r"codes of 'image' are given in one list, .* each \[codebooks, T\]"):
        made[1]("<|image|>", codes={"image": [[torch.zeros(3, 6, dtype=torch.long)]]})
    with pytest.raises(CodecError):
        made[1]("<|speech|>", audio=sound(), sampling_rate=0)


def test_what_is_no_row_and_what_is_no_message_is_refused(made):
    given = made[1](["a", "b"])["input_ids"]
    for several in (given, given.tolist(), 5):
        with pytest.raises(ModalityError, match="parts takes the ids of one row"):
            made[1].parts(several)
    with pytest.raises(ModalityError, match='a message holds "text" without one'):
        made[1].apply_chat_template([{"role": "user", "content": [{"type": "text"}]}], chat_template="{{ messages }}")


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
