"""Tiny random models of every architecture that the tests need; made by transformers' own configs, no downloads."""

from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

HIDDEN = 16
TIED_BY_DEFAULT = {
    "llama": False,
    "qwen2": True,
    "gemma3": True,
    "gemma3_multimodal": True,
    "gpt2": True,
    "gpt_neox": False,
    "bert": True,
    "roberta": True,
    "t5": True,
    "bart": True,
}
CAUSAL = ("llama", "qwen2", "gemma3", "gemma3_multimodal", "gpt2", "gpt_neox")
MASKED = ("bert", "roberta")
ENCODER_DECODERS = ("t5", "bart")


def tiny_names() -> tuple[str, ...]:
    """Names that `tiny` knows."""
    return tuple(TIED_BY_DEFAULT)


def tiny_config(name: str, *, tied: bool, vocab_size: int, layers: int = 2, hidden: int = HIDDEN) -> Any:
    """The config of a tiny model; ids 0 pad, 1 bos, 2 eos wherever the architecture has them."""
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    heads = 2
    decoder: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": 256,
        "tie_word_embeddings": tied,
    }
    grouped = decoder | {"num_key_value_heads": 1}
    gemma = grouped | {"head_dim": 8, "sliding_window": 32, "query_pre_attn_scalar": 8}
    if name == "llama":
        return transformers.LlamaConfig(**grouped, **ids)
    if name == "qwen2":
        return transformers.Qwen2Config(**grouped, **ids)
    if name == "gemma3":
        return transformers.Gemma3TextConfig(**gemma, **ids)
    if name == "gemma3_multimodal":
        vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        return transformers.Gemma3Config(
            text_config=transformers.Gemma3TextConfig(**gemma, **ids).to_dict(),
            vision_config=vision | {"image_size": 28, "patch_size": 14},
            mm_tokens_per_image=4,
            boi_token_index=3,
            eoi_token_index=4,
            image_token_index=5,
            tie_word_embeddings=tied,
            **ids,
        )
    if name == "gpt2":
        return transformers.GPT2Config(
            vocab_size=vocab_size,
            n_embd=hidden,
            n_layer=layers,
            n_head=heads,
            n_positions=256,
            tie_word_embeddings=tied,
            **ids,
        )
    if name == "gpt_neox":
        return transformers.GPTNeoXConfig(**decoder, **ids)
    if name == "bert":
        return transformers.BertConfig(**decoder, pad_token_id=0)
    if name == "roberta":
        return transformers.RobertaConfig(**decoder, **ids)
    if name == "t5":
        return transformers.T5Config(
            vocab_size=vocab_size,
            d_model=hidden,
            d_kv=8,
            d_ff=2 * hidden,
            num_layers=layers,
            num_heads=heads,
            pad_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=0,
            tie_word_embeddings=tied,
        )
    if name == "bart":
        return transformers.BartConfig(
            vocab_size=vocab_size,
            d_model=hidden,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=2 * hidden,
            decoder_ffn_dim=2 * hidden,
            max_position_embeddings=256,
            decoder_start_token_id=2,
            forced_eos_token_id=None,
            tie_word_embeddings=tied,
            **ids,
        )
    raise KeyError(f"unknown tiny model {name!r}; known: {', '.join(TIED_BY_DEFAULT)}")


CLASSES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "gemma3_multimodal": "Gemma3ForConditionalGeneration",
    "gpt2": "GPT2LMHeadModel",
    "gpt_neox": "GPTNeoXForCausalLM",
    "bert": "BertForMaskedLM",
    "roberta": "RobertaForMaskedLM",
    "t5": "T5ForConditionalGeneration",
    "bart": "BartForConditionalGeneration",
}


def tiny(
    name: str,
    *,
    tied: bool | None = None,
    vocab_size: int = 96,
    layers: int = 2,
    hidden: int = HIDDEN,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """A tiny random model whose every parameter and bias differs from zero, in eval mode.

    Args:
        name: one of `tiny_names()`.
        tied: whether head and input embedding are one matrix; None is the architecture's own habit.
        vocab_size: rows of the embedding.
        layers: hidden layers.
        hidden: width.
        seed: seed of the weights.
        dtype: of all weights.

    Returns:
        The model, ready for `save_pretrained`.
    """
    tied = TIED_BY_DEFAULT[name] if tied is None else tied
    config = tiny_config(name, tied=tied, vocab_size=vocab_size, layers=layers, hidden=hidden)
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        model = getattr(transformers, CLASSES[name])(config)
        if name == "t5" and not tied:  # transformers 5 ties every fresh T5; T5 1.1 checkpoints hold a head of their own
            model.lm_head.weight = torch.nn.Parameter(torch.randn(vocab_size, hidden) * 0.05)
            model.all_tied_weights_keys.pop("lm_head.weight", None)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
            if name == "bart" and not tied:  # three parameters then, of which one is the embedding of both stacks
                for stack in (model.model.encoder, model.model.decoder):
                    stack.embed_tokens.weight.copy_(model.model.shared.weight)
            for key, buffer in model.named_buffers():
                if key.endswith("final_logits_bias"):
                    buffer.copy_(torch.randn_like(buffer) * 0.1)
    finally:
        torch.set_rng_state(state)
    return model.to(dtype).eval()


def tiny_folder(name: str, folder: Any, *, max_shard_size: str = "5GB", **options: Any) -> PreTrainedModel:
    """Save a tiny model into a folder and return it; options as for `tiny`."""
    model = tiny(name, **options)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return model
