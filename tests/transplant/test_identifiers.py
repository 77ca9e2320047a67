import copy
import json

import pytest
from transformers import Gemma3Config, GenerationConfig, LlamaConfig, Qwen2VLConfig, T5Config

from hf_tokext.transplant.identifiers import new_generation_config, update_config, updated_json
from hf_tokext.transplant.plan import make_plan
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.handmade import bpe
from tests.tiny_models import tiny_config

# old: 0 <pad> 1 <s> 2 </s> 3 <end_of_turn> 4 a 5 b 6 c
OLD = read_vocabulary(
    bpe(["a", "b", "c"], special=("<pad>", "<s>", "</s>", "<end_of_turn>"), eos_token="</s>", pad_token="<pad>")
)
NEW = read_vocabulary(bpe(["b", "a", "bb"], special=("<|im_end|>", "</s>"), merges=[], eos_token="</s>"))
PLAN = make_plan(OLD, NEW, base_rows=7, rows=6)


def llama(**ids):
    return LlamaConfig(vocab_size=7, **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | ids)


def test_the_plan_is_as_the_numbers_below_expect():
    """New: 0 <|im_end|>, 1 </s>, 2 b, 3 a, 4 bb that nothing makes, 5 padding."""
    assert (PLAN.copied, PLAN.quiet) == ({0: 3, 1: 2, 2: 5, 3: 4}, [4, 5])


@pytest.mark.parametrize(
    ("in_config", "in_generation", "ends"),
    [(2, None, 1), (2, [2, 3], [1, 0]), ([2, 3], None, [1, 0]), (3, 2, [1, 0]), (None, None, 1), (2, 5, [1, 2])],
)
def test_generation_stops_at_the_new_end_and_wherever_the_old_one_did(in_config, in_generation, ends):
    config, generation = llama(eos_token_id=in_config), None
    if in_generation is not None:
        generation = GenerationConfig(eos_token_id=in_generation)
    assert new_generation_config(config, PLAN, generation).eos_token_id == ends
    update_config(config, PLAN, generation)
    assert config.eos_token_id == ends and config.vocab_size == 6


def test_without_a_named_end_the_translated_ones_count():
    nameless = make_plan(OLD, read_vocabulary(bpe(["a"], special=("</s>", "<eos>"))), base_rows=7)
    config = llama()
    update_config(config, nameless, None)
    assert config.eos_token_id == [0, 1]
    none = make_plan(OLD, read_vocabulary(bpe(["a"], special=())), base_rows=7)
    config = llama()
    update_config(config, none, None)
    assert config.eos_token_id is None


def test_an_id_without_a_partner_does_not_survive():
    config = llama(sep_token_id=6)
    update_config(config, PLAN, None)
    assert (config.pad_token_id, config.bos_token_id, config.sep_token_id) == (None, None, None)
    config = T5Config(vocab_size=7, decoder_start_token_id=5, pad_token_id=0, eos_token_id=2)
    update_config(config, PLAN, None)
    assert (config.decoder_start_token_id, config.pad_token_id) == (2, None)


def test_the_tokens_that_the_new_tokenizer_names_are_the_ids():
    named = read_vocabulary(bpe(["a"], special=("<s>", "<pad>", "</s>"), bos_token="<pad>", pad_token="</s>"))
    config = llama()
    update_config(config, make_plan(OLD, named, base_rows=7), None)
    assert (config.bos_token_id, config.pad_token_id, config.eos_token_id) == (1, 2, 2)
    absent = llama(pad_token_id=None)
    update_config(absent, make_plan(OLD, named, base_rows=7), None)
    assert absent.pad_token_id is None


def test_nested_configs_have_the_new_size_and_ids_too():
    config = tiny_config("gemma3_multimodal", tied=True, vocab_size=7)
    update_config(config, PLAN, GenerationConfig(eos_token_id=[2, 3]))
    assert isinstance(config, Gemma3Config) and config.text_config.vocab_size == 6
    for part in (config, config.text_config):
        assert (part.eos_token_id, part.pad_token_id) == ([1, 0], None)


def test_markers_of_images_are_translated_or_lie_past_the_table():
    config = tiny_config("gemma3_multimodal", tied=True, vocab_size=7)
    config.boi_token_index, config.eoi_token_index, config.image_token_index = 3, 5, 6
    before = config.to_dict()
    update_config(config, PLAN, None)
    assert (config.boi_token_index, config.eoi_token_index, config.image_token_index) == (0, 2, 6)
    assert config.image_token_id == PLAN.rows
    new = updated_json(before, config, PLAN)
    assert (new["boi_token_index"], new["eoi_token_index"], new["image_token_index"]) == (0, 2, 6)


def test_markers_that_must_be_numbers_stay_numbers():
    config = Qwen2VLConfig(image_token_id=6, video_token_id=5)
    config.text_config.vocab_size = 7
    update_config(config, PLAN, None)
    assert (config.image_token_id, config.video_token_id) == (PLAN.rows, 2)


def test_every_other_key_of_config_json_is_kept_and_the_old_one_left_alone():
    before = {
        "model_type": "llama", "vocab_size": 7, "eos_token_id": 2, "bos_token_id": 1, "architectures": ["X"],
        "a key of the future": {"vocab": [1, 2]}, "rope_theta": 5.0,
    }  # fmt: skip
    kept = copy.deepcopy(before)
    config = llama()
    update_config(config, PLAN, None)
    new = updated_json(before, config, PLAN)
    assert before == kept
    assert new == kept | {"vocab_size": 6, "eos_token_id": 1, "bos_token_id": None}
    assert "pad_token_id" not in new


def test_an_end_that_was_the_classes_default_is_written_down():
    config = llama()
    update_config(config, PLAN, None)
    assert updated_json({"model_type": "llama", "vocab_size": 7}, config, PLAN)["eos_token_id"] == 1


def test_nested_sections_of_config_json_are_rewritten():
    config = tiny_config("gemma3_multimodal", tied=True, vocab_size=7)
    before = config.to_dict()
    update_config(config, PLAN, None)
    new = updated_json(before, config, PLAN)
    assert new["text_config"]["vocab_size"] == 6 and new["text_config"]["eos_token_id"] == 1
    assert new["vision_config"] == before["vision_config"] and before["text_config"]["vocab_size"] == 7


def test_ids_that_text_is_never_encoded_to_are_suppressed_and_lists_of_old_ids_go():
    old = GenerationConfig(
        eos_token_id=2, pad_token_id=0, decoder_start_token_id=4, suppress_tokens=[1, 2], begin_suppress_tokens=[5],
        bad_words_ids=[[4]], sequence_bias=[[[4], 1.0]], temperature=0.3, do_sample=True, max_new_tokens=9,
    )  # fmt: skip
    before = old.to_dict()
    new = new_generation_config(llama(), PLAN, old)
    assert old.to_dict() == before
    assert (new.suppress_tokens, new.eos_token_id, new.pad_token_id, new.decoder_start_token_id) == ([4, 5], 1, None, 3)
    assert (new.begin_suppress_tokens, new.bad_words_ids, new.sequence_bias) == (None, None, None)
    assert (new.temperature, new.do_sample, new.max_new_tokens) == (0.3, True, 9)


def test_nothing_quiet_suppresses_nothing():
    same = make_plan(OLD, OLD, base_rows=7)
    new = new_generation_config(llama(), same, GenerationConfig(eos_token_id=[2, 3], suppress_tokens=[1]))
    assert new.suppress_tokens == [1] and new.eos_token_id == [2, 3]  # the same vocabulary: nothing is touched
    assert new_generation_config(llama(), same, GenerationConfig(eos_token_id=2)).suppress_tokens is None


def test_settings_that_transformers_would_not_save_changed_can_be_saved(tmp_path):
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 2, "temperature": 0.6, "top_p": 0.9}')
    new = new_generation_config(llama(), PLAN, GenerationConfig.from_pretrained(tmp_path))
    new.save_pretrained(tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (saved["eos_token_id"], saved["temperature"], saved["top_p"]) == (1, 0.6, 0.9)
