import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from hf_tokext.errors import RowMethodError, VocabularyError
from hf_tokext.extend import init_rows
from tests.tiny_models import CAUSAL, tiny
from tests.tokenizers import TEXT, byte_level

WORDS = ["<river>", "<bridge>", "boat"]
DESCRIBED = {"<river>": "the cat sat", "<bridge>": "on the mat"}


def base(name="llama", **options):
    tokenizer = byte_level(300)
    spare = 8 if name == "qwen2" else 0
    model = tiny(name, vocab_size=len(tokenizer) + spare, **options)
    old = {side: _table(model, side).clone() for side in ("input", "output")}
    old_tokenizer = byte_level(300)
    tokenizer.add_tokens(WORDS)
    return model, tokenizer, old, old_tokenizer


def centred(table, *spellings):
    """By the definition: the mean row, and what the pieces differ from it, but for the direction of the largest variance."""
    mean = table.mean(0)
    first = torch.linalg.svd(table - mean)[2][0]
    apart = [table[list(spelling)].mean(0) - mean for spelling in spellings]
    apart = [each - each @ first * first for each in apart]
    length = sum(each.norm() for each in apart) / len(apart)
    return mean + sum(each / each.norm() for each in apart) / len(apart) * length


def _table(model, side):
    module = model.get_input_embeddings() if side == "input" else model.get_output_embeddings()
    return module.weight.detach()


@pytest.mark.parametrize("name", CAUSAL)
def test_rows_are_the_mean_of_what_describes_or_spells_them(name):
    model, tokenizer, old, plain = base(name)
    found = init_rows(model, tokenizer, WORDS, descriptions=DESCRIBED, calibrate=False)
    texts = [DESCRIBED["<river>"], DESCRIBED["<bridge>"], None]
    for row, word, text in zip(found.rows, WORDS, texts, strict=True):
        spelt = plain(text).input_ids if text else [plain.convert_tokens_to_ids(letter) for letter in row.made_of]
        assert row.index == tokenizer.convert_tokens_to_ids(word) and row.token == word
        for side in ("input", "output"):
            expected = centred(old[side][: len(plain)], spelt)
            assert torch.allclose(_table(model, side)[row.index], expected, atol=1e-6)
    assert "".join(found.rows[2].made_of) == "boat" and len(found.rows[2].made_of) > 1
    for side in ("input", "output"):
        kept = len(plain)
        assert torch.equal(_table(model, side)[:kept], old[side][:kept])
    assert not found.calibrated


def test_both_is_half_of_what_describes_and_half_of_what_spells_it():
    model, tokenizer, old, plain = base(tied=False)
    (row,) = init_rows(model, tokenizer, ["boat"], "both", descriptions={"boat": "the cat"}, calibrate=False).rows
    spellings = plain("the cat").input_ids, plain.convert_tokens_to_ids(["b", "o", "at"])
    assert row.made_of == tuple(dict.fromkeys(plain.convert_ids_to_tokens([*spellings[0], *spellings[1]])))
    for side in ("input", "output"):
        assert torch.allclose(_table(model, side)[row.index], centred(old[side], *spellings), atol=1e-6)


def test_tokens_that_are_not_named_and_have_no_row_get_the_mean_row_and_are_not_used():
    model, tokenizer, old, plain = base(tied=False)
    texts = [TEXT + "<river> <bridge> boat"]
    init_rows(model, tokenizer, ["<river>"], "mean", texts=texts, calibrate=True)
    ids = tokenizer.convert_tokens_to_ids(WORDS)
    for side in ("input", "output"):
        for index in ids[1:]:
            assert torch.allclose(_table(model, side)[index], old[side].mean(0), atol=1e-6)
        assert torch.equal(_table(model, side)[: len(plain)], old[side])
    assert torch.allclose(_table(model, "input")[ids[0]], old["input"].mean(0), atol=1e-6)


def test_a_model_stays_as_it_was_where_rows_cannot_be_made():
    model, tokenizer, old, _ = base()
    with pytest.raises(RowMethodError, match="has no option"):
        init_rows(model, tokenizer, WORDS, "mean", strength=3)
    assert torch.equal(_table(model, "input"), old["input"])
    assert model.config.vocab_size == len(old["input"])


@pytest.mark.parametrize("tied", [True, False])
def test_known_tokens_are_made_anew_from_others_only(tied):
    model, tokenizer, old, _ = base(tied=tied)
    words = [word for word in ("the", "Ġcat", "Ġsat") if word in tokenizer.get_vocab()]
    assert len(words) > 1
    ids = tokenizer.convert_tokens_to_ids(words)
    model.get_input_embeddings().weight.data[ids] = 1e6  # whoever looks at them shows it
    if not tied:
        model.get_output_embeddings().weight.data[ids] = 1e6
    for method in ("pieces", "mean", "description"):
        found = init_rows(model, tokenizer, words, method, calibrate=False)
        for side in ("input", "output"):
            assert _table(model, side)[ids].abs().max() < 10
        if method == "pieces":
            for row in found.rows:
                made = tokenizer.convert_tokens_to_ids(list(row.made_of))
                assert not set(made) & set(ids)
                left = [index for index in range(len(old["input"])) if index not in ids]
                expected = centred(old["input"][left], [left.index(index) for index in made])
                assert torch.allclose(_table(model, "input")[row.index], expected, atol=1e-6)


def test_the_report_says_how_long_rows_are_and_what_is_near():
    model, tokenizer, old, plain = base()
    described = {"<river>": "a"}
    (row,) = init_rows(model, tokenizer, ["<river>"], descriptions=described, calibrate=False, directions=0).rows
    index = plain("a").input_ids[0]
    others = list(range(len(plain)))
    cosines = torch.nn.functional.normalize(old["input"][others], dim=1) @ torch.nn.functional.normalize(
        old["input"][index], dim=0
    )
    best = torch.tensor(others)[cosines.argsort(descending=True)[:3]].tolist()
    assert list(row.nearest[:3]) == plain.convert_ids_to_tokens(best) and row.nearest[0] == "a"
    assert row.made_of == ("a",) and row.norm > 0


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
@pytest.mark.parametrize("tied", [True, False])
def test_peft_trains_these_rows_alone(tied, tmp_path):
    model, tokenizer, _, _ = base(tied=tied)
    found = init_rows(model, tokenizer, WORDS, descriptions=DESCRIBED)
    model.save_pretrained(tmp_path / "base")
    adapted = get_peft_model(
        model, LoraConfig(target_modules=["q_proj"], trainable_token_indices=found.trainable_token_indices)
    )
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    before = {side: _table(loaded, side).clone() for side in ("input", "output")}
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=1.0)
    batch = tokenizer("the <river> <bridge> boat cat", return_tensors="pt")
    adapted(**batch, labels=batch.input_ids).loss.backward()
    optimizer.step()
    adapted.save_pretrained(tmp_path / "adapter")
    after = adapted(**batch).logits
    loaded.load_adapter(str(tmp_path / "adapter"))
    assert torch.allclose(loaded(**batch).logits, after, atol=1e-5)
    merged = adapted.merge_and_unload()
    for side, table in before.items():  # the rows of both matrices
        changed = (_table(merged, side) != table).any(1).nonzero().squeeze(1).tolist()
        assert changed == [row.index for row in found.rows]


def test_neighbours_take_vectors_of_words():
    model, tokenizer, old, plain = base()

    def vectors(pieces):
        near = {b"<river>": [1.0, 0.0], b"cat": [1.0, 0.1], b"c": [0.0, 1.0]}
        return torch.tensor([near.get(piece.strip(), [0.0, 0.0]) for piece in pieces])

    found = init_rows(model, tokenizer, ["<river>"], "neighbours", word_vectors=vectors, calibrate=False)
    cat = [i for i in range(len(plain)) if plain.decode([i]).strip() == "cat"]
    expected = old["input"][cat].mean(0)
    assert torch.allclose(_table(model, "input")[found.rows[0].index], expected, atol=1e-5)

    class KeyedVectors:
        key_to_index = {"<river>": 0, "cat": 1}
        vector_size = 2

        def __contains__(self, word):
            return word in self.key_to_index

        def __getitem__(self, word):
            return np.array([[1.0, 0.0], [1.0, 0.1]][self.key_to_index[word]])

    init_rows(model, tokenizer, ["<river>"], "neighbours", word_vectors=KeyedVectors(), calibrate=False)
    assert torch.allclose(_table(model, "input")[found.rows[0].index], expected, atol=1e-5)
    init_rows(model, tokenizer, ["boat"], "neighbours", texts=[TEXT * 3 + "boat boats " * 30], calibrate=False)
    assert _table(model, "input").isfinite().all()


def test_what_cannot_be_made_is_refused():
    model, tokenizer, *_ = base()
    with pytest.raises(VocabularyError, match="'lake' is no token of the tokenizer; add it first"):
        init_rows(model, tokenizer, ["lake"])
    with pytest.raises(VocabularyError, match="10000 is no token"):
        init_rows(model, tokenizer, [10_000])
    for tokens in ([], ["boat", "boat"]):
        with pytest.raises(VocabularyError, match="each once"):
            init_rows(model, tokenizer, tokens)
    with pytest.raises(RowMethodError, match="unknown row method 'best'"):
        init_rows(model, tokenizer, ["boat"], "best")
    with pytest.raises(RowMethodError, match="needs donor"):
        init_rows(model, tokenizer, ["boat"], "omp")
    with pytest.raises(VocabularyError, match="all tokens are to be made anew"):
        init_rows(model, tokenizer, list(range(len(tokenizer))))
