"""Configuration of the glyph family."""

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from hf_tokext.models.blocks.installed import InstalledConfig
from hf_tokext.models.blocks.markers import MARKERS
from hf_tokext.models.glyph.ids import CHARACTERS
from hf_tokext.registry import name_classes


@strict
class GlyphConfig(InstalledConfig):
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
    sub_configs: ClassVar[dict[str, Any]] = {"backbone_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    backbone_config: dict[str, Any] | PreTrainedConfig | None = None
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
        given = self.backbone_config
        if isinstance(given, PreTrainedConfig):
            given = deepcopy(given)
        else:
            given = AutoConfig.for_model(**{"model_type": "llama", **(given or {})})
        vars(given).pop("auto_map", None)  # the code that its own checkpoint names is not used here
        self.backbone_config = given
        given.vocab_size = CHARACTERS + len(self.special_tokens)
        given.pad_token_id, given.bos_token_id = self.pad_token_id, self.bos_token_id
        given.eos_token_id, given.tie_word_embeddings = self.eos_token_id, False
        super().__post_init__(**kwargs)

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

    @property
    def hidden_size(self) -> int:
        """Width of the backbone."""
        return self._backbone().hidden_size

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> PreTrainedConfig:
        """Give the backbone's config, which says what caches and layers there are."""
        return self._backbone()

    def _backbone(self) -> PreTrainedConfig:
        if not isinstance(self.backbone_config, PreTrainedConfig):
            raise ValueError("backbone_config must be a config of transformers, or a dict with model_type")
        return self.backbone_config

    def to_json_file(self, json_file_path: Any, use_diff: bool = True) -> None:
        """Write config.json, and name the installed classes in it; those of a subclass are its own affair.

        Args:
            json_file_path: the file.
            use_diff: as upstream.
        """
        super().to_json_file(json_file_path, use_diff)
        if type(self) is not GlyphConfig:
            return
        names = {"AutoConfig": "GlyphConfig", "AutoModel": "GlyphModel", "AutoModelForCausalLM": "GlyphForCausalLM"}
        name_classes(Path(json_file_path), "hf_tokext", names)
