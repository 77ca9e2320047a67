import numpy as np
import pytest
from transformers import AutoModelForCausalLM, GPTNeoConfig, Llama4TextConfig, MambaConfig, MistralConfig

from hf_tokext.errors import TextError
from hf_tokext.models.byte_level.contexts import Context, TokenForest, TokenRunner, token_runner
from tests.tiny_models import CAUSAL, TIED_BY_DEFAULT, tiny

SIZE = 64


def mistral():
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=SIZE, num_key_value_heads=2, sliding_window=5, **shape)
    return AutoModelForCausalLM.from_config(config)


def mamba():
    return AutoModelForCausalLM.from_config(MambaConfig(vocab_size=SIZE, hidden_size=16, num_hidden_layers=2))


def gpt_neo():
    """Every second layer sees 8 tokens; which, it tells from places in the cache."""
    shape = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}
    return AutoModelForCausalLM.from_config(
        GPTNeoConfig(vocab_size=SIZE, window_size=8, max_position_embeddings=64, **shape)
    )


def llama4():
    """Most layers see no further back than to the last multiple of 8 tokens."""
    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    config = Llama4TextConfig(
        vocab_size=SIZE, attention_chunk_size=8, num_hidden_layers=4, moe_layers=[], intermediate_size_mlp=32, **shape
    )
    return AutoModelForCausalLM.from_config(config)


def contexts(count: int, seed: int = 0) -> list[Context]:
    """A trunk, and branches that part from its later places."""
    chance = np.random.default_rng(seed)
    found = [Context(None, 3)]
    for number in range(1, count):
        parent = found[-1] if number < count // 2 else found[chance.integers(number - 4, number)]
        found.append(Context(parent, int(chance.integers(SIZE))))
    return found


def logits(runner: TokenRunner, parts: list[list[Context]]) -> dict[Context, np.ndarray]:
    found: dict[Context, np.ndarray] = {}
    for part in parts:
        runner.run(part, found.__setitem__)
    return found


def made(name: str):
    model = {"mistral": mistral, "mamba": mamba, "gpt_neo": gpt_neo, "llama4": llama4}.get(
        name, lambda: tiny(name, tied=TIED_BY_DEFAULT[name], vocab_size=SIZE)
    )
    model = model().double().eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model


@pytest.mark.parametrize("name", [*CAUSAL, "mistral"])
def test_packed_equals_plain_sequences(name):
    """In several calls, with branches, and past sliding windows."""
    model = made(name)
    runner = token_runner(model)
    assert isinstance(runner, TokenForest)
    given = contexts(50)
    packed = logits(runner, [given[:20], given[20:21], given[21:]])
    plain = logits(TokenRunner(model), [given])
    assert max(np.abs(packed[context] - plain[context]).max() for context in given) < 1e-10
    assert runner.forwards == 3


@pytest.mark.parametrize("name", ["gpt_neo", "llama4"])
def test_layers_that_find_out_themselves_how_far_they_see_are_not_packed(name):
    model = made(name)
    given = contexts(40)
    packed = logits(token_runner(model), [given[:20], given[20:]])
    plain = logits(TokenRunner(model), [given])
    assert max(np.abs(packed[context] - plain[context]).max() for context in given) < 1e-10


def test_what_takes_no_tree_mask_is_run_plainly():
    model = made("mamba")
    runner = token_runner(model)
    assert type(runner) is TokenRunner
    given = contexts(6)
    found = logits(runner, [given])
    assert len(found) == 6
    assert runner.forwards == 6


def test_places_of_contexts_that_are_gone_are_used_again():
    model = made("llama")
    runner = TokenForest(model)
    trunk = contexts(20)[:10]
    logits(runner, [trunk])
    for seed in range(30):
        branch = [Context(trunk[-1], seed)]
        branch += [Context(branch[0], token) for token in range(9)]
        logits(runner, [branch])
    assert len(runner._held) < 150  # 310 were run, 10 are alive
    last = Context(trunk[-1], 5)
    plain = logits(TokenRunner(model), [[last]])
    assert np.abs(logits(runner, [[last]])[last] - plain[last]).max() < 1e-10


def test_a_context_past_the_models_is_refused():
    model = made("llama")
    runner = token_runner(model)
    context = Context(None, 1)
    for _ in range(model.config.max_position_embeddings):
        context = Context(context, 1)
    with pytest.raises(TextError, match="longer than the model's context"):
        runner.run([context], lambda *_: None)


def test_more_tokens_than_the_cache_has_room_for_are_refused(monkeypatch):
    monkeypatch.setattr("hf_tokext.models.byte_level.contexts.MOST_SLOTS", 16)
    runner = TokenForest(made("llama"))
    kept = contexts(16)
    logits(runner, [kept])
    with pytest.raises(TextError, match="more than 16 tokens .*larger tolerance"):
        logits(runner, [[Context(kept[-1], 3)]])


@pytest.mark.parametrize("rows", [1, 7])
def test_what_a_token_sees_is_moved_whatever_the_number_of_rows(rows, monkeypatch):
    monkeypatch.setattr("hf_tokext.models.byte_level.contexts.ROWS_AT_ONCE", rows)
    model = made("llama")
    runner = TokenForest(model)
    given = contexts(20)[:10]
    given += [Context(given[number % 10], number % SIZE) for number in range(90)]
    logits(runner, [given])
    kept = given[:10] + given[11::4]
    del given
    after = [Context(context, 7) for context in kept]
    found = logits(runner, [after])
    assert len(runner._held) < 100
    plain = logits(TokenRunner(model), [after])
    assert max(np.abs(found[context] - plain[context]).max() for context in after) < 1e-10


def test_places_that_are_free_are_used_before_any_is_refused(monkeypatch):
    monkeypatch.setattr("hf_tokext.models.byte_level.contexts.MOST_SLOTS", 100)
    model = made("llama")
    runner = TokenForest(model)
    trunk = contexts(20)[:10]
    kept = [Context(trunk[-1], number % SIZE) for number in range(50)]
    gone = [Context(trunk[-2], number % SIZE) for number in range(35)]
    logits(runner, [[*trunk, *kept, *gone]])
    del gone
    after = [Context(context, 7) for context in kept[:35]]
    found = logits(runner, [after])
    plain = logits(TokenRunner(model), [after])
    assert max(np.abs(found[context] - plain[context]).max() for context in after) < 1e-10
