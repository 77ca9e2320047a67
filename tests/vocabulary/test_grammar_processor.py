from functools import lru_cache

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList

from hf_tokext.errors import VocabularyError
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor
from tests.vocabulary.brackets import Brackets

DOMAIN = Brackets()
BASE, EOS, BOS = 20, 0, 1  # ids 2 to 19 are text
SIZE = BASE + len(DOMAIN.tokens) + 3


def model(seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=SIZE, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=128, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=EOS,
    )  # fmt: skip
    found = LlamaForCausalLM(config).eval()
    for parameter in found.parameters():
        parameter.data.mul_(4)
    return found


def generated(prompts, seed=0, only="brackets", length=24, **options):
    processor = GrammarLogitsProcessor([(DOMAIN, BASE)], max_length=length, only=only, eos_token_id=EOS)
    torch.manual_seed(seed)
    longest = max(map(len, prompts))
    ids = torch.tensor([[EOS] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    found = model(seed).generate(
        input_ids=ids,
        attention_mask=mask,
        max_length=length,
        logits_processor=LogitsProcessorList([processor]),
        **options,
    )
    return [row[longest:] for row in found.tolist()]


def document(ids, prompt=()):
    """The indices of a row that is one document and then ends, or an error."""
    ids = [*prompt, *ids]
    indices = [index - BASE for index in ids if index != EOS]
    assert set(ids[len(indices) :]) <= {EOS}
    assert DOMAIN.grammar.complete(DOMAIN.grammar.read(indices)), indices
    return indices


MODES = [
    {"do_sample": False},
    {"do_sample": True, "num_return_sequences": 8, "top_k": 0},
    {"do_sample": False, "num_beams": 4, "num_return_sequences": 4},
    {"do_sample": True, "num_beams": 3, "num_return_sequences": 3},
]


@pytest.mark.parametrize("options", MODES)
@pytest.mark.parametrize("length", [6, 12, 24])
def test_only_a_document_is_written_however_it_is_generated(options, length):
    for seed in range(6):
        rows = generated([[BOS], [BOS, 7, 8]], seed, length=length, **options)
        for row in rows:
            document(row)


def test_a_prompt_may_hold_the_beginning_and_earlier_documents():
    example = [BASE + index for index in DOMAIN.parse("(a)")]
    begun = [BASE, BASE + 2, BASE + 4]
    for row in generated([[BOS, *example, 5, *begun]], do_sample=True, num_return_sequences=16):
        assert document(row, begun)[1:3] == [2, 4]
    for row in generated([[BOS, *example, 5]], do_sample=True, num_return_sequences=4):
        document(row)


def test_documents_stand_in_text_where_the_model_opens_them():
    opened = 0
    for seed in range(8):
        for row in generated([[BOS, 5]], seed, only=None, length=60, do_sample=True, num_return_sequences=4, top_k=0):
            inside = None
            for index in row:
                if inside is None:
                    assert index == BASE or not BASE <= index < BASE + len(DOMAIN.tokens)
                    inside = [0] if index == BASE else None
                    opened += inside is not None
                else:
                    inside.append(index - BASE)
                    inside = None if DOMAIN.grammar.complete(DOMAIN.grammar.read(inside)) else inside
            assert inside is None  # none is left open at the end
    assert opened > 10


def test_scores_of_what_may_follow_are_kept():
    processor = GrammarLogitsProcessor([(DOMAIN, BASE)])
    scores = torch.arange(2.0 * SIZE).view(2, SIZE)
    found = processor(torch.tensor([[BOS, BASE], [BOS, 4]]), scores)
    allowed = DOMAIN.grammar.allowed(())
    kept = np.flatnonzero(found[0].isfinite())
    np.testing.assert_array_equal(kept, BASE + np.flatnonzero(allowed))
    assert (found[0, kept] == scores[0, kept]).all()
    assert found[1, BASE].isfinite() and not found[1, BASE + 1 : BASE + len(DOMAIN.tokens)].isfinite().any()
    assert found[1, :BASE].isfinite().all() and found[1, BASE + len(DOMAIN.tokens) :].isfinite().all()


def test_one_processor_serves_several_calls():
    processor = GrammarLogitsProcessor([(DOMAIN, BASE)], max_length=20, only="brackets", eos_token_id=[EOS])
    for seed in range(3):
        found = model(seed).generate(
            torch.tensor([[BOS]]), max_length=20, do_sample=True, logits_processor=LogitsProcessorList([processor])
        )
        document(found[0, 1:].tolist())


def test_what_it_cannot_keep_is_refused():
    with pytest.raises(VocabularyError, match="needs one of the domains"):
        GrammarLogitsProcessor([(DOMAIN, BASE)], only="svg", eos_token_id=EOS)
    with pytest.raises(VocabularyError, match="eos_token_id"):
        GrammarLogitsProcessor([(DOMAIN, BASE)], only="brackets")
    processor = GrammarLogitsProcessor([(DOMAIN, BASE)])
    with pytest.raises(VocabularyError, match=f"id {BASE + 3} at place 1 of the prompt"):
        processor(torch.tensor([[BASE, BASE + 3]]), torch.zeros(1, SIZE))


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("helper", ["assistant_model", "prompt_lookup_num_tokens"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # transformers' own
def test_guesses_of_assisted_generation_may_be_taken_back(helper, sampled):
    """A prompt with an earlier document, from which tokens are guessed; greedy gives what it gives without help."""
    prompt = [BOS, *(BASE + index for index in DOMAIN.parse("(a)[ab]")), 5]
    for seed in range(2):
        help_ = {"assistant_model": model(seed + 100)} if helper == "assistant_model" else {helper: 3}
        (row,) = generated([prompt], seed, length=len(prompt) + 12, do_sample=sampled, **help_)
        document(row)
        if not sampled:
            (plain,) = generated([prompt], seed, length=len(prompt) + 12, do_sample=False)
            assert [index for index in row if index != EOS] == [index for index in plain if index != EOS]


@pytest.mark.parametrize("sampled", [True, False])
def test_more_beams_than_there_are_tokens_to_begin_with(sampled):
    """Search fills up with beams of no probability, whose ids no grammar lets stand."""
    options = {"num_beams": 20, "num_return_sequences": 2, "do_sample": sampled}
    for seed in range(2):
        for row in generated([[BOS], [BOS, 7, 8]], seed, length=12, **options):
            document(row)


def test_rows_of_a_batch_open_and_close_documents_at_different_places():
    processor = GrammarLogitsProcessor([(DOMAIN, BASE)], max_length=30)
    one, two = [BASE + index for index in DOMAIN.parse("(a)")], [BASE + index for index in DOMAIN.parse("")]
    rows = torch.tensor([[EOS, EOS, BOS, *one[:3]], [EOS, *one[:4], 5], [*one, 7], [*two, 8, *two, 9]])
    found = processor(rows, torch.zeros(4, SIZE)).isfinite()
    inside = [BASE + index for index in np.flatnonzero(DOMAIN.grammar.allowed(DOMAIN.grammar.read([0, 2, 6])))]
    assert found[0].nonzero().flatten().tolist() == inside and not found[0, EOS]
    assert found[1, inside].any() and not found[1, :BASE].any()  # text inside of a document closes nothing
    for row in (2, 3):
        assert found[row, :BASE].all() and found[row, BASE] and not found[row, BASE + 1 : BASE + 6].any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_keep_their_dtype(dtype):
    found = GrammarLogitsProcessor([(DOMAIN, BASE)])(torch.tensor([[BOS, BASE]]), torch.ones(1, SIZE, dtype=dtype))
    assert found.dtype == dtype and found[0, BASE + 1] == 1 and found[0, EOS] == -torch.inf


def test_a_prompt_whose_document_cannot_be_closed_in_time_is_refused():
    begun = [[BOS, BASE, BASE + 2, BASE + 2]]
    for only in (None, "brackets"):
        with pytest.raises(VocabularyError, match="max_length=6 leaves room for 2 tokens .* needs 3"):
            generated(begun, only=only, length=6)
    with pytest.raises(VocabularyError, match="max_length=2 leaves room for 1"):
        generated([[BOS]], length=2)


def test_scores_of_another_model_are_refused():
    with pytest.raises(VocabularyError, match="scores of 22 ids"):
        GrammarLogitsProcessor([(DOMAIN, BASE)])(torch.tensor([[BOS]]), torch.zeros(1, 22))


def test_a_step_is_quick_with_a_large_vocabulary():
    """Masks of equal places are made once: those of text above all."""
    processor, size = GrammarLogitsProcessor([(DOMAIN, 49_152)], max_length=400), 57_814
    ids, calls = torch.full((8, 300), 5), []
    made = processor._forbidden.__wrapped__
    processor._forbidden = lru_cache(8)(lambda *given: calls.append(given) or made(*given))
    for _ in range(20):
        processor(ids, torch.zeros(8, size))
        ids = torch.cat([ids, ids[:, :1]], 1)
    assert len(calls) == 1
