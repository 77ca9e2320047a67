"""A small tokenizer of the Llama-2 kind: metaspace, byte fallback, a space before every text."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

WORDS = ("▁the", "▁a", "▁b", "th", "he", "ri", "▁r", "in", "an", "▁an")


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Ids: 0 <unk>, 1 <s>, 2 </s>, 256 byte tokens, letters, and a few merges."""
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for token in (*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *"abcdefghijklmnopqrstuvwxyz", "é", "▁t", *WORDS):
        vocab.setdefault(token, len(vocab))
    merges = [("▁", "t"), ("t", "h"), ("h", "e"), ("▁t", "he"), ("▁", "a"), ("▁", "b"), ("r", "i"), ("▁", "r")]
    merges += [("i", "n"), ("a", "n"), ("▁a", "n"), ("▁", "an")]
    core = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
