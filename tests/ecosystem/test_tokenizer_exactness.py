"""Offsets, round trips and names of ids are exact, for every kind of tokenizer that this package hands out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.ecosystem.tokenizer_cases import TEXTS, bare, ids

# every value of text whose meaning is the text itself: markers are read as such, and SentencePiece's mark is a space
LOSSLESS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="▁<"), max_size=40)


def test_offsets_are_exact(case):
    """Every token's bytes are those of its stretch of the text; where characters are cut, they lie within it."""
    tokenizer = case.tokenizer
    glyph = case.name.startswith("glyph")  # whose ids are UTF-16
    encoding = "utf-16-le" if glyph else "utf-8"
    vocabulary = read_vocabulary(tokenizer)
    for text in TEXTS:
        found = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        offsets, covered, spelt = found["offset_mapping"], set(), b""
        assert len(offsets) == len(found["input_ids"])
        assert all(0 <= start <= end <= len(text) for start, end in offsets)
        assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
        opens = True  # whether a stretch of text begins, before which SentencePiece puts a space of its own
        for index, (start, end) in zip(found["input_ids"], offsets, strict=True):
            plain = not glyph or index >= 0x10000
            piece = vocabulary.piece(index).decode("utf-8", "surrogateescape") if plain else chr(index)
            piece = piece.encode(encoding, "surrogatepass" if glyph else "surrogateescape")
            if opens and vocabulary.kind == "metaspace" and index not in vocabulary.special:
                piece = piece.removeprefix(b" ")
            opens = index in vocabulary.special
            stretch = text[start:end].encode(encoding)
            assert piece in stretch, (text, start, end)
            if piece != stretch:
                assert end - start == 1, (text, start, end)  # part of one character
            covered |= set(range(start, end))
            spelt += piece
        assert covered == set(range(len(text))) and spelt == text.encode(encoding)
        assert (
            tokenizer([text, "b"], return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"][0]
            == offsets
        )
        whole = tokenizer(text, return_offsets_mapping=True)
        kept = [pair for pair, part in zip(whole["offset_mapping"], whole.sequence_ids(), strict=True) if part == 0]
        assert kept == offsets


def test_what_is_encoded_comes_back(case):
    tokenizer = case.tokenizer
    plain = [text for text in TEXTS if "</s>" not in text]
    for text in plain:
        assert tokenizer.decode(bare(tokenizer, text)) == text
        assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=True) == text
    padded = tokenizer(plain, padding=True, return_tensors="pt")["input_ids"]
    assert tokenizer.batch_decode(padded, skip_special_tokens=True) == plain
    assert tokenizer.batch_decode(padded.tolist(), skip_special_tokens=True) == plain

    @settings(deadline=None, max_examples=60)
    @given(LOSSLESS)
    def any_text(text):
        assert tokenizer.decode(bare(tokenizer, text)) == text

    any_text()


def test_tokens_and_ids_are_two_names_of_one_thing(case):
    tokenizer = case.tokenizer
    vocabulary = tokenizer.get_vocab()
    assert len(set(vocabulary.values())) == len(vocabulary) == len(tokenizer)
    sample = sorted(vocabulary.values())[:: max(1, len(vocabulary) // 500)]
    assert tokenizer.convert_tokens_to_ids(tokenizer.convert_ids_to_tokens(sample)) == sample
    for text in TEXTS:
        found = bare(tokenizer, text)
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) == found
        assert tokenizer.encode(text, add_special_tokens=False) == found
    for name in ("bos", "eos", "pad"):
        token, index = getattr(tokenizer, f"{name}_token"), getattr(tokenizer, f"{name}_token_id")
        assert vocabulary[token] == index and bare(tokenizer, token) == [index]
