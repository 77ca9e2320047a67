import pytest
import torch
from transformers import GPT2Model

from hf_tokext.transplant.direction import DEFAULT_TEXTS, LIMIT, WINDOW, head_direction, window_of
from tests.models import tiny
from tests.tokenizers import byte_level

TOKENIZER = byte_level(300)
OTHER_TEXT = "Quite another text, 77 words or so; the hill was steep and the bees were many."
CONSTANT = 5.0


def common(name="gpt2", size=CONSTANT):
    """A model whose states before the head all have `size` in place 3, by the bias of its last norm."""
    model = tiny(name, vocab_size=len(TOKENIZER))
    norm = model.transformer.ln_f if name == "gpt2" else model.model.decoder.layers[-1].final_layer_norm
    with torch.no_grad():
        norm.weight[3], norm.bias[3] = 0.0, size
    return model


def states(model, text):
    found = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    ids = torch.tensor([TOKENIZER(text)["input_ids"]])
    extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        logits = model(input_ids=ids, **extra).logits[0]
    hook.remove()
    return found[0][0], logits


@pytest.mark.parametrize("name", ["gpt2", "bart"])
def test_every_state_has_a_product_of_one_with_it(name):
    model = common(name)
    found = head_direction(model, TOKENIZER)
    assert found.dtype == torch.float32 and found.shape == (16,)
    assert abs(float(found[3]) - 1 / CONSTANT) < 0.01
    hidden, _ = states(model, OTHER_TEXT)
    assert torch.allclose(hidden[:, 3], torch.tensor(CONSTANT))
    assert float((hidden @ found - 1).abs().max()) < 0.05


def test_adding_it_to_a_row_of_the_head_shifts_that_logit_and_no_other():
    model = common()
    found = head_direction(model, TOKENIZER)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    _, before = states(model, OTHER_TEXT)
    with torch.no_grad():
        model.lm_head.weight[7] -= 3 * found
    change = states(model, OTHER_TEXT)[1] - before
    assert torch.allclose(change[:, 7], torch.tensor(-3.0), atol=0.15)
    change[:, 7] = 0
    assert not change.any()


def test_it_is_the_ridge_regression_of_one_on_the_states():
    model = common()
    hidden = states(model, OTHER_TEXT)[0].double()
    moments = hidden.T @ hidden / len(hidden)
    penalty = (len(hidden) * 1e-3 * moments.diagonal().mean()).sqrt() * torch.eye(16)
    tall, ones = torch.cat([hidden, penalty]), torch.cat([torch.ones(len(hidden)), torch.zeros(16)]).double()
    expected = torch.linalg.lstsq(tall, ones[:, None]).solution[:, 0].float()
    assert torch.allclose(head_direction(model, TOKENIZER, [OTHER_TEXT]), expected, atol=1e-5)


def test_states_without_a_common_direction_give_none():
    assert head_direction(tiny("llama", vocab_size=len(TOKENIZER)), TOKENIZER) is None


def test_a_model_without_a_head_gives_none():
    assert head_direction(GPT2Model(tiny("gpt2").config), TOKENIZER) is None


def watched(model):
    calls = []
    model.register_forward_pre_hook(
        lambda module, arguments, named: calls.append((named["input_ids"].shape[1], module.training)), with_kwargs=True
    )
    return calls


def test_a_few_thousand_tokens_in_windows_and_then_an_end():
    model = common()
    calls = watched(model)
    head_direction(model, TOKENIZER, ["the cat sat on the mat " * 2000, "never read"])
    lengths = [length for length, _ in calls]
    assert sum(lengths) == LIMIT and max(lengths) == window_of(model) == WINDOW - 2
    calls.clear()
    head_direction(model, TOKENIZER)
    assert sum(length for length, _ in calls) == min(LIMIT, sum(len(TOKENIZER(t)["input_ids"]) for t in DEFAULT_TEXTS))


def test_texts_of_blanks_only_are_as_none():
    model = common()
    assert torch.equal(head_direction(model, TOKENIZER, ["", " \n"]), head_direction(model, TOKENIZER))


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was_even_after_an_error(training):
    model = common().train(training)
    calls = watched(model)
    head_direction(model, TOKENIZER, [OTHER_TEXT])
    assert [mode for _, mode in calls] == [False]
    with pytest.raises(IndexError):
        head_direction(model, byte_level(400, text=OTHER_TEXT * 5), [OTHER_TEXT])  # its ids lie past the table
    assert model.training is training
    assert not model.get_output_embeddings()._forward_pre_hooks
    assert all(parameter.grad is None for parameter in model.parameters())


def test_window_of():
    positions = {"gpt2": 254, "roberta": 254, "t5": WINDOW, "gemma3_multimodal": 254}
    assert {name: window_of(tiny(name)) for name in positions} == positions
    model = tiny("llama")
    for length, window in ((40, 38), (100_000, WINDOW)):
        model.config.max_position_embeddings = length
        assert window_of(model) == window
