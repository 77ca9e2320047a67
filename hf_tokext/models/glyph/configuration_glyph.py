"""Configuration of the glyph family."""

from typing import Any, Literal

from huggingface_hub.dataclasses import strict

from hf_tokext.models.blocks.backbone import BackboneConfig
from hf_tokext.models.blocks.markers import MARKERS
from hf_tokext.models.glyph.ids import CHARACTERS


@strict
class GlyphConfig(BackboneConfig):
    """A causal LM over code points, whose input embeddings are pictures of them.

    It also takes what any config of transformers takes.

    Attributes:
        backbone_config: config of a causal LM of transformers, as an object or a dict with `model_type`; its
            vocabulary and its bos, eos and pad ids are set from this one. None is Llama's.
        embedding: "glyph" is vectors of a font, frozen; "random" is random vectors, frozen; "trainable" is random
            vectors, trained. All rows have length 1 at the start, so that only one thing differs.
        special_tokens: texts of the ids from 65,536 on, drawn as they are spelt.
        font: what the vectors were made of: name, size, missing (code points without a picture), distinct (pictures).
        pad_token_id: id of the padding.
        bos_token_id: id before a text.
        eos_token_id: id after a text.
        tie_word_embeddings: False; the head is trained, the embeddings are not.

    Raises:
        ValueError: `tie_word_embeddings` is True, or a special token is named twice.
    """

    model_type = "tokext_glyph"

    embedding: Literal["glyph", "random", "trainable"] = "glyph"
    special_tokens: list[str] | None = None
    font: dict[str, Any] | None = None
    pad_token_id: int | None = CHARACTERS
    bos_token_id: int | None = CHARACTERS + 1
    eos_token_id: int | list[int] | None = CHARACTERS + 2
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Make the backbone's config an object and fit it to the vocabulary."""
        if self.special_tokens is None:
            self.special_tokens = list(MARKERS)
        super().__post_init__(**kwargs)
        backbone: Any = self.backbone
        backbone.vocab_size = CHARACTERS + len(self.special_tokens)
        backbone.pad_token_id, backbone.bos_token_id = self.pad_token_id, self.bos_token_id
        backbone.eos_token_id, backbone.tie_word_embeddings = self.eos_token_id, False

    def validate_architecture(self) -> None:
        """Refuse ties, and two ids of one text."""
        if self.tie_word_embeddings:
            raise ValueError("tie_word_embeddings must be False: the head is trained, the embeddings are pictures")
        tokens = self.special_tokens or []
        if len(set(tokens)) < len(tokens):
            raise ValueError(f"special_tokens names a token twice: {tokens}")

    @property
    def vocab_size(self) -> int:
        """Ids: 65,536 code points and the special tokens."""
        return CHARACTERS + len(self.special_tokens or ())

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        if value != self.vocab_size:
            raise ValueError(f"the vocabulary is {self.vocab_size} ids; name more tokens in special_tokens")

    def auto_classes(self) -> dict[str, str]:
        """Say which models belong to the config.

        Returns:
            Names of model classes by the names of their Auto classes.
        """
        return {"AutoModel": "GlyphModel", "AutoModelForCausalLM": "GlyphForCausalLM"}
