"""What is generated keeps to the grammar, whatever the model would like."""

import pytest
import torch
from transformers import GenerationConfig

from hf_tokext import GrammarLogitsProcessor, ModalityError, VocabularyError, keep_to_grammar
from hf_tokext.vocabulary.code_layout import LAYOUTS
from tests.models.multimodal.conftest import batch, make, picture

PROMPTS = ["see <|image|> the cat", "the <|speech|> and <|depth|> on <|speech|>"]
WAYS = [{"do_sample": False}, {"do_sample": True, "top_k": 5}, {"num_beams": 3}, {"do_sample": True, "num_beams": 2}]


def wild(**options):
    """A model that wants codes everywhere: rows of all sizes."""
    model, processor = make(**options)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[290:] += 3 * torch.randn(head[290:].shape, generator=torch.Generator().manual_seed(1))
    processor.tokenizer.padding_side = "left"
    return model, processor


def check(processor, row):
    """A row is text and whole documents; returns how many of each modality."""
    starts = {space.start: space for space in processor.spaces.values()}
    counts = dict.fromkeys(processor.spaces, 0)
    at, row = 0, row.tolist()
    while at < len(row):
        space = starts.get(row[at])
        if space is None:
            assert not any(row[at] in each or row[at] in each.markers for each in processor.spaces.values())
            at += 1
            continue
        end = row.index(space.end, at)
        codes = space.to_codes(row[at + 1 : end])
        assert space.steps in (None, codes.shape[1])
        counts[space.name] += 1
        at = end + 1
    return counts


@pytest.mark.parametrize(
    ("way", "layout"),
    [(way, "interleave") for way in WAYS] + [(WAYS[1], each) for each in LAYOUTS if each != "interleave"],
)  # scripts/repro_multimodal_grammar.py has all of them
def test_every_row_is_text_and_whole_documents(way, layout):
    model, processor = wild(**{name: {"layout": layout} for name in ("image", "speech", "depth")})
    given = batch(processor)
    torch.manual_seed(0)
    total = dict.fromkeys(processor.spaces, 0)
    for new in (30, 61):
        several = {} if way == {"do_sample": False} else {"num_return_sequences": 2}
        rows = model.generate(**given, **way, **several, max_new_tokens=new)
        for row in rows[:, given["input_ids"].shape[1] :]:
            for name, count in check(processor, row).items():
                total[name] += count
    assert sum(total.values()) > 4


@pytest.mark.parametrize("name", ["image", "speech", "depth"])
def test_one_document_and_then_the_end(name):
    model, processor = wild()
    given = batch(processor)
    rows = model.generate(**given, only=name, do_sample=True, max_new_tokens=80)
    space, eos = processor.spaces[name], processor.tokenizer.eos_token_id
    for row in rows[:, given["input_ids"].shape[1] :].tolist():
        end = row.index(space.end)
        assert row[0] == space.start and row[end + 1 :][:1] in ([eos], [])
        assert set(row[end + 1 :]) <= {eos, processor.tokenizer.pad_token_id}
        assert space.to_codes(row[1:end]).shape[1] >= 1


def test_a_document_that_the_prompt_begins_is_written_on():
    model, processor = wild()
    space = processor.spaces["image"]
    given = processor("the cat <|image|>", images=picture())
    ids = model.read(given["input_ids"], given).ids[:, :-8]
    rows = model.generate(ids, max_new_tokens=30)
    assert check(processor, rows[0])["image"] >= 1
    assert torch.equal(rows[:, : ids.shape[1]], ids)
    assert (rows[0] == space.end).any()


@pytest.mark.parametrize("lm", ["llama", "gemma3", "gpt2"])
def test_with_and_without_cache_it_is_the_same(lm):
    model, processor = wild(lm=lm, image={"input": "codebook"})
    given = batch(processor)
    one, other = (model.generate(**given, max_new_tokens=25, use_cache=cached) for cached in (True, False))
    assert torch.equal(one, other)
    # and alone as in a batch
    alone = processor(PROMPTS[0], images=picture())
    row = model.generate(**alone, max_new_tokens=25)[0, alone["input_ids"].shape[1] :]
    assert torch.equal(row, one[0, given["input_ids"].shape[1] :])


def test_the_room_is_known_from_everywhere():
    model, processor = wild()
    given = batch(processor)
    length = given["input_ids"].shape[1]
    for how in (
        {"max_length": length + 40},
        {"generation_config": GenerationConfig(max_new_tokens=40, eos_token_id=2, pad_token_id=0)},
        {"max_new_tokens": 40, "repetition_penalty": 1.3, "temperature": 3.0, "do_sample": True, "min_p": 0.1},
    ):
        for row in model.generate(**given, **how)[:, length:]:
            check(processor, row)
    with pytest.raises(VocabularyError, match="raise max_length"):
        model.generate(**given, only="image", max_new_tokens=5)


def test_a_processor_of_ones_own_is_taken():
    model, processor = wild()
    given = batch(processor)
    length = given["input_ids"].shape[1]
    own = keep_to_grammar(processor.tokenizer, length + 30, only="speech")
    assert isinstance(own, GrammarLogitsProcessor)
    for row in model.generate(**given, logits_processor=[own], max_new_tokens=30)[:, length:]:
        assert check(processor, row)["speech"] == 1
    with pytest.raises(ModalityError, match="goes into the GrammarLogitsProcessor"):
        model.generate(**given, logits_processor=[own], only="speech", max_new_tokens=30)


def test_what_cannot_be_written_is_refused():
    model, processor = wild()
    with pytest.raises(VocabularyError, match="only='photo'"):
        model.generate(**processor("a"), only="photo", max_new_tokens=5)
    given = batch(processor)
    with pytest.raises(ModalityError, match="no values"):
        model.generate(given["input_ids"], max_new_tokens=5)
    space = processor.spaces["image"]
    with pytest.raises(VocabularyError, match="of the prompt"):
        model.generate(torch.tensor([[5, space.start, space.base + 8]]), max_new_tokens=5)
    with pytest.raises(ValueError, match="model_kwargs"):
        model.generate(**processor("a"), colours=torch.zeros(1), max_new_tokens=5)


def test_a_last_id_that_is_forced_cuts_no_document():
    model, processor = wild()
    given = batch(processor)
    eos, length = processor.tokenizer.eos_token_id, given["input_ids"].shape[1]
    torch.manual_seed(0)
    for new in (20, 21, 22, 33):
        rows = model.generate(**given, do_sample=True, max_new_tokens=new, forced_eos_token_id=eos)[:, length:]
        assert all(eos in row.tolist() for row in rows)
        for row in rows:
            check(processor, row)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_where_other_settings_leave_nothing_it_is_said(way):
    model, processor = wild()
    given, space = batch(processor), processor.spaces["image"]
    for settings in (
        {"suppress_tokens": list(range(space.base, space.base + 8))},
        {"bad_words_ids": [[space.end]]},
        {"min_new_tokens": 30},  # more than the one document has
    ):
        with pytest.raises(VocabularyError, match="nothing is left that may follow in row 0 at place"):
            model.generate(**given, **way, **settings, only="image", max_new_tokens=40)
    # beams of no probability, by which a search is filled up, are no such case
    rows = model.generate(**given, **way, only="image", max_new_tokens=40, min_new_tokens=10)
    for row in rows[:, given["input_ids"].shape[1] :]:
        assert check(processor, row)["image"] == 1


def test_an_assistant_changes_nothing():
    model, processor = wild()
    given = processor("see <|image|> the the cat the cat", images=picture())
    wanted = model.generate(**given, max_new_tokens=45)
    assistant, _ = wild()
    for how in ({"assistant_model": assistant}, {"prompt_lookup_num_tokens": 4}):
        assert torch.equal(model.generate(**given, **how, max_new_tokens=45), wanted)


def test_settings_may_stand_second_as_upstream():
    model, processor = wild()
    settings = GenerationConfig(max_new_tokens=7, eos_token_id=2, pad_token_id=0)
    ids = processor("the cat")["input_ids"]
    assert torch.equal(model.generate(ids, settings), model.generate(ids, generation_config=settings))
