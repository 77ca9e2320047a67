"""Tiny BPE tokenizers with merges drawn at random, over the bytes or characters of an alphabet and nothing else."""

import random
from collections.abc import Callable, Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from hf_tokext.vocabulary.pieces import CHARACTER_OF_BYTE

MARK = "\u2581"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
RIGHT_ALIGNED = r"\d{1,3}(?=(?:\d{3})*(?!\d))|\s+|[^\d\s]+"


def _bytes_only() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _split(*patterns: str) -> pre_tokenizers.PreTokenizer:
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*parts, _bytes_only()])


CUTTERS: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "none": _bytes_only,
    "gpt2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "gpt2 with prefix space": lambda: pre_tokenizers.ByteLevel(add_prefix_space=True),
    "llama3": lambda: _split(LLAMA3),
    "single digits": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "digits from the right": lambda: _split(RIGHT_ALIGNED),
    "several splits": lambda: _split(r"\p{N}{1,3}", r"[!'][a-z]+| ?[!']+[\r\n]*|\s+(?!\S)|\s+"),
    "punctuation": lambda: pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), _bytes_only()]),
}


def byte_level(
    cutter: str,
    alphabet: str,
    seed: int,
    *,
    ignore_merges: bool = False,
    unmerged: int = 0,
    added: Iterable[tuple[str, bool]] = (),
    normalizer: normalizers.Normalizer | None = None,
) -> Tokenizer:
    """A byte-level tokenizer; `unmerged` tokens have no merges, `added` are contents with whether they are normalized."""
    draw = random.Random(seed)
    base = sorted({bytes([byte]) for byte in alphabet.encode()})
    tokens, merges = _merges(draw, base, draw.randint(2, 10))
    for _ in range(unmerged):
        token = b"".join(draw.choices(base, k=draw.randint(2, 3)))
        tokens += [token] if token not in tokens else []
    vocabulary = {_spelt(token): index for index, token in enumerate(tokens)}
    model = models.BPE(vocabulary, [(_spelt(a), _spelt(b)) for a, b in merges], ignore_merges=ignore_merges)
    core = Tokenizer(model)
    core.pre_tokenizer, core.decoder = CUTTERS[cutter](), decoders.ByteLevel()
    if normalizer is not None:
        core.normalizer = normalizer
    return _with_added(core, ["<s>"], added)


def sentencepiece(
    scheme: str, alphabet: str, missing: str, seed: int, added: Iterable[tuple[str, bool]] = ()
) -> Tokenizer:
    """A SentencePiece-like tokenizer: bytes stand for the `missing` characters of the alphabet."""
    draw = random.Random(seed)
    base = [MARK if c == " " else c for c in alphabet if c not in missing]
    tokens, merges = _merges(draw, base, draw.randint(2, 8))
    fallback = [f"<0x{byte:02X}>" for byte in sorted(set(missing.encode()))]
    vocabulary = {token: index for index, token in enumerate(["<unk>", "<s>", *fallback, *tokens])}
    core = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    replace = normalizers.Replace(" ", MARK)
    if scheme == "prepend":
        core.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), replace])
    elif scheme == "gemma":
        core.normalizer, core.pre_tokenizer = replace, pre_tokenizers.Split(" ", "merged_with_previous")
    else:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    core.decoder = decoders.Sequence([decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()])
    return _with_added(core, ["<s>", "<unk>"], added)


def _merges(draw: random.Random, base: Sequence, count: int) -> tuple[list, list[tuple]]:
    tokens, merges = list(base), []
    for _ in range(count):
        pair = draw.choice(tokens), draw.choice(tokens)
        whole = pair[0] + pair[1]
        if pair not in merges and len(whole) <= 3:
            merges.append(pair)
            tokens += [whole] if whole not in tokens else []
    return tokens, merges


def _spelt(token: bytes) -> str:
    return "".join(CHARACTER_OF_BYTE[byte] for byte in token)


def _with_added(core: Tokenizer, special: list[str], added: Iterable[tuple[str, bool]]) -> Tokenizer:
    core.add_special_tokens(special)
    core.add_tokens([AddedToken(text, normalized=normalized) for text, normalized in added])
    return core
