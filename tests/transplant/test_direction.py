import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Model,
    GraniteConfig,
    GraniteForCausalLM,
)

from hf_tokext.transplant.direction import DEFAULT_TEXTS, LIMIT, SLOPE_IDS, WINDOW, head_direction, window_of
from hf_tokext.transplant.in_memory import transplant_tokenizer
from hf_tokext.transplant.verify import QUIET_MASS
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

TOKENIZER = byte_level(300)
OTHER_TEXT = "Quite another text, 77 words or so; the hill was steep and the bees were many."
CONSTANT = 5.0
IDS = len(TOKENIZER)


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


SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 256}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SCALED = {
    "granite": (GraniteForCausalLM, GraniteConfig, {"logits_scaling": 16.0}),
    "cohere": (CohereForCausalLM, CohereConfig, {"logit_scale": 0.0625}),
    "soft cap": (Gemma2ForCausalLM, Gemma2Config, {"head_dim": 8, "final_logit_softcapping": 30.0}),
}


def scaled(name, size=IDS, **more):
    """A model that scales its logits after the head, untied; place 3 of every state before the head is near 4."""
    kind, config, options = SCALED[name]
    torch.manual_seed(0)
    model = kind(config(vocab_size=size, tie_word_embeddings=False, **SIZES, **HEADS, **options | more)).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 3] = 5.0  # the norms before the head have no bias
        model.lm_head.weight[:, 3] = 0.0
        model.lm_head.weight.mul_(20)
    return model


@pytest.mark.parametrize("text", [OTHER_TEXT, "a"])
@pytest.mark.parametrize("name", SCALED)
def test_what_a_model_does_to_its_logits_after_the_head_is_reckoned_in(name, text):
    model = scaled(name)
    found = head_direction(model, TOKENIZER, [text])
    _, before = states(model, OTHER_TEXT)
    with torch.no_grad():
        model.lm_head.weight[7] -= 3 * found
    change = states(model, OTHER_TEXT)[1] - before
    assert torch.allclose(change[:, 7], torch.tensor(-3.0), atol=0.15)
    change[:, 7] = 0
    assert not change.any()


@pytest.mark.parametrize("name", SCALED)
def test_quiet_ids_of_a_model_that_scales_its_logits_hold_no_probability(name):
    model, tokenizer, report = transplant_tokenizer(
        scaled(name), TOKENIZER, byte_level(280), rows=400, texts=[OTHER_TEXT]
    )
    quiet = [index for index, source in enumerate(report.sources) if source == "quiet"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokenizer(OTHER_TEXT)["input_ids"]])).logits[0]
    assert report.calibrated and len(quiet) >= 120
    assert float(logits.softmax(-1)[:, quiet].sum(-1).max()) < QUIET_MASS


def test_a_scale_of_one_leaves_the_direction_as_it_is():
    found = [head_direction(scaled("granite", logits_scaling=scale), TOKENIZER) for scale in (1.0, 8.0)]
    assert torch.allclose(found[1], 8 * found[0], rtol=1e-5)
    hidden, _ = states(scaled("granite"), OTHER_TEXT)
    assert float((hidden @ found[0] - 1).abs().max()) < 0.05


def test_ids_that_the_model_masks_and_a_large_vocabulary_do_not_disturb_the_scale():
    model = scaled("granite", size=3 * SLOPE_IDS)
    expected = head_direction(model, TOKENIZER)
    inner = model.forward

    def forward(**given):
        result = inner(**given)
        result.logits[..., 1000:2000] = torch.finfo(torch.float32).min
        return result

    model.forward = forward
    assert torch.equal(head_direction(model, TOKENIZER), expected)


def test_logits_that_do_not_follow_the_head_give_none():
    model = scaled("granite")
    inner = model.forward

    def forward(**given):
        result = inner(**given)
        result.logits = torch.zeros_like(result.logits)
        return result

    assert head_direction(model, TOKENIZER) is not None
    model.forward = forward
    assert head_direction(model, TOKENIZER) is None


def test_window_of():
    positions = {"gpt2": 254, "roberta": 254, "t5": WINDOW, "gemma3_multimodal": 254}
    assert {name: window_of(tiny(name)) for name in positions} == positions
    model = tiny("llama")
    for length, window in ((40, 38), (100_000, WINDOW)):
        model.config.max_position_embeddings = length
        assert window_of(model) == window
