"""Tokenizers small enough to enumerate all that their models may say, one of each kind."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

MARKERS = {"<s>": 0, "</s>": 1}


def _wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def _byte_level(letters: str, merges: list[tuple[str, str]], regex: bool = False, **model) -> Tokenizer:
    tokens = [*MARKERS, *letters, *("".join(pair) for pair in merges)]
    core = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges, **model))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(list(MARKERS))
    return core


def plain() -> PreTrainedTokenizerFast:
    """Byte-level merges, no pre-tokenizer."""
    return _wrapped(_byte_level("abc", [("a", "b"), ("b", "c"), ("ab", "c"), ("a", "a")]))


def regex() -> PreTrainedTokenizerFast:
    """GPT-2's regex, with its lookahead."""
    return _wrapped(_byte_level("aĊĠ", [("Ċ", "Ċ"), ("Ġ", "a"), ("a", "a"), ("Ġ", "Ġ")], regex=True))


def whole_words() -> PreTrainedTokenizerFast:
    """A pretoken in the vocabulary is that token, reachable by merges or not (Llama 3)."""
    core = _byte_level("abĠ", [("a", "b"), ("Ġ", "a")], regex=True, ignore_merges=True)
    spec = core.to_str().replace('"Ġa":', '"aab":7,"Ġa":')
    return _wrapped(Tokenizer.from_str(spec))


def characters() -> PreTrainedTokenizerFast:
    """Tokens that end inside a character, so that invalid UTF-8 can be spelt."""
    return _wrapped(_byte_level("aÃ©", [("a", "Ã")]))


def added() -> PreTrainedTokenizerFast:
    """An ordinary added token inside text, which merges can spell too."""
    core = _byte_level("abc", [("a", "b")])
    core.add_tokens([AddedToken("bca", normalized=False), AddedToken("bcab", normalized=False)])
    return _wrapped(core)


def fallback() -> PreTrainedTokenizerFast:
    """SentencePiece's BPE as Llama 2 has it: a space before every text, bytes for what has no token, twice the same."""
    tokens = [*MARKERS, "<unk>", "<0x61>", "<0xC3>", "<0xA9>", "▁", "a", "b", "▁a", "ab"]
    core = Tokenizer(
        models.BPE(
            {token: i for i, token in enumerate(tokens)}, [("▁", "a"), ("a", "b")],
            unk_token="<unk>", fuse_unk=True, byte_fallback=True,
        )
    )  # fmt: skip
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([*MARKERS, "<unk>"])
    return _wrapped(core)


def unigram() -> PreTrainedTokenizerFast:
    """SentencePiece's Unigram: the likeliest spelling, a space before every text, bytes for what has no token."""
    scores = {"<s>": 0, "</s>": 0, "<unk>": 0, "<0xC3>": 0, "<0xA9>": 0, "▁": -2.0, "a": -2.5, "b": -3.0, "▁a": -3.5, "ab": -5.25,
              "▁ab": -7.0, "ba": -5.0}  # fmt: skip
    core = Tokenizer(models.Unigram(list(scores.items()), unk_id=2, byte_fallback=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([*MARKERS, "<unk>"])
    return _wrapped(core)


def opened_once() -> PreTrainedTokenizerFast:
    """Unigram with a space before the first text only, and tokens of several spaces."""
    scores = {
        "<s>": 0,
        "</s>": 0,
        "<unk>": 0,
        "▁": -2.0,
        "a": -2.5,
        "b": -3.0,
        "▁a": -3.5,
        "ab": -5.25,
        "▁▁": -2.5,
        "▁▁▁": -3.0,
    }
    core = Tokenizer(models.Unigram(list(scores.items()), unk_id=2))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    core.add_special_tokens([*MARKERS, "<unk>"])
    return _wrapped(core)


def wordpiece() -> PreTrainedTokenizerFast:
    """BERT's longest match: words in lower case, a space before each in what the model gives."""
    tokens = [*MARKERS, "<unk>", "a", "b", "ab", "##a", "##b", "##ba", "!"]
    core = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(cleanup=False)
    core.add_special_tokens([*MARKERS, "<unk>"])
    return _wrapped(core)
