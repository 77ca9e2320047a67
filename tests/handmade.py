"""Vocabularies written out token by token, for tests whose numbers are worked out by hand."""

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast


def derived_merges(tokens: Sequence[str]) -> list[tuple[str, str]]:
    """The merge that appends the last character, for every token whose beginning is a token too."""
    return [(token[:-1], token[-1]) for token in tokens if token[:-1] in tokens and token[-1] in tokens]


def bpe(
    tokens: Sequence[str],
    special: Sequence[str] = ("</s>",),
    merges: Sequence[tuple[str, str]] | None = None,
    **roles: str,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE with these ids: the special tokens first, then the tokens as they come."""
    vocabulary = {token: index for index, token in enumerate((*special, *tokens))}
    core = Tokenizer(models.BPE(vocabulary, list(derived_merges(tokens) if merges is None else merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=core, **roles)


def metaspace(
    tokens: Sequence[str], special: Sequence[str] = ("<unk>", "<s>", "</s>"), added: Sequence[str] = (), **roles: str
) -> PreTrainedTokenizerFast:
    """A BPE of the Llama-2 kind: specials, 256 byte tokens, then the tokens; `added` are literal added tokens."""
    listed = dict.fromkeys((*special, *(f"<0x{byte:02X}>" for byte in range(256)), *tokens))
    vocabulary = {token: index for index, token in enumerate(listed)}
    core = Tokenizer(models.BPE(vocabulary, derived_merges(tokens), unk_token=special[0], byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in added])
    return PreTrainedTokenizerFast(tokenizer_object=core, **roles)
