"""What a tokenizer or a model is worth, in figures that compare across vocabularies."""

from hf_tokext.measure.bits_per_byte import BitsPerByte, bits_per_byte
from hf_tokext.measure.texts import read_text, read_texts
from hf_tokext.measure.vocabulary import VocabularyUse, vocabulary_use
from hf_tokext.measure.windows import leading_id, windows

__all__ = [
    "BitsPerByte",
    "VocabularyUse",
    "bits_per_byte",
    "leading_id",
    "read_text",
    "read_texts",
    "vocabulary_use",
    "windows",
]
