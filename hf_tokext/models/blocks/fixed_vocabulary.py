"""Models whose vocabulary is what it is."""

from torch import nn
from transformers import PreTrainedModel

from hf_tokext.errors import UnsupportedModelError


class FixedVocabulary(PreTrainedModel):
    """A model whose embeddings are not resized."""

    def _fixed_as(self) -> str:
        """Say what the vocabulary is, and what to do instead of resizing it."""
        return f"the vocabulary of {type(self).__name__} has {self.config.vocab_size} ids and no others"

    def resize_token_embeddings(  # type: ignore[override]
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Module:
        """Refuse to change the vocabulary; asking for the size it has gives the embeddings.

        Args:
            new_num_tokens: size, or None for the present one.
            pad_to_multiple_of: must be None, or divide the size.
            mean_resizing: as upstream.

        Returns:
            The input embeddings.

        Raises:
            UnsupportedModelError: another size is asked for.
        """
        size = self.config.vocab_size
        wanted = size if new_num_tokens is None else new_num_tokens
        if wanted != size or (pad_to_multiple_of is not None and size % pad_to_multiple_of):
            raise UnsupportedModelError(self._fixed_as())
        return self.get_input_embeddings()
