"""Causal LMs of different tokenizers as one causal LM over bytes."""

from collections.abc import Sequence
from functools import reduce
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig

from hf_tokext.errors import TextError, UnsupportedModelError
from hf_tokext.models.byte_level.byte_cache import EnsembleCache
from hf_tokext.models.byte_level.byte_model import ByteModel
from hf_tokext.models.byte_level.configuration_byte_level import ByteEnsembleConfig, check_weights
from hf_tokext.models.byte_level.ensemble_markers import MemberIds, ensemble_tokenizer, normalised
from hf_tokext.models.byte_level.modeling_byte_level import BASE_TOKENIZER, ByteLevelForCausalLM
from hf_tokext.models.byte_level.tokenization_byte_level import ByteTokenizer

COMBINATIONS = ("mixture", "product")


class ByteEnsembleForCausalLM(ByteModel):
    """Any number of causal LMs, whatever their tokenizers, as one that says which byte comes next.

    "mixture" is the weighted mean of the members' probabilities of the next byte, "product" their weighted geometric
    mean, made to add up to one. Any end of sequence of a member counts as the ensemble's. What a member gives to markers
    that others lack is left out, and the rest made to add up to one. Nothing gets a floor: what is impossible for all
    members (for one, in a product) stays so. In a mixture, a member for which the text so far is impossible has no say.

    Ids 0 to 255 are bytes, markers follow; `logits` are log probabilities and add up to one. For inference only.
    `from_members` makes one, with its tokenizer.

    Args:
        config: the configuration.

    Raises:
        UnsupportedModelError: it has no members, or they lack a marker of the ensemble.

    Source: Phan et al., Exact Byte-Level Probabilities from Tokenized Language Models (arXiv 2410.09303), section on
        ensembles.
    """

    config_class = ByteEnsembleConfig
    config: ByteEnsembleConfig

    def __init__(self, config: ByteEnsembleConfig) -> None:
        configs: Any = config.members
        if not configs:
            raise UnsupportedModelError("the ensemble has no members; give one ByteLevelForCausalLM or more")
        asked = config._attn_implementation  # None where nobody did, and each base has its own
        options: dict[str, Any] = {} if asked is None else {"attn_implementation": asked}
        super().__init__(config)
        if config.dtype is not None:
            options["dtype"] = config.dtype
        self.members = nn.ModuleList([ByteLevelForCausalLM._from_config(each, **options) for each in configs])
        self._ids = [MemberIds(config, each) for each in configs]
        self.post_init()

    @classmethod
    def from_members(
        cls,
        members: Sequence[ByteLevelForCausalLM],
        weights: Sequence[float] | None = None,
        combination: str = "mixture",
    ) -> tuple[Self, ByteTokenizer]:
        """Put byte-level models together.

        Args:
            members: what `byteify` gives, one or more; they are not copied, and become part of the result.
            weights: how much each counts, positive; only their shares matter. None is the same for all.
            combination: "mixture" or "product".

        Returns:
            The ensemble, and its tokenizer: bytes, padding, bos, eos, and the markers that all members have.

        Raises:
            UnsupportedModelError: there are no members, one is no `ByteLevelForCausalLM` or names no bos or eos, the
                weights are not one positive number a member, or the combination is unknown.
        """
        members = list(members)
        for number, member in enumerate(members):
            if not isinstance(member, ByteLevelForCausalLM):
                raise UnsupportedModelError(
                    f"member {number} is a {type(member).__name__}, not a ByteLevelForCausalLM: give the models that byteify "
                    "makes, without their tokenizers"
                )
        if not members:
            raise UnsupportedModelError("the ensemble has no members; give one ByteLevelForCausalLM or more")
        weights = [1.0] * len(members) if weights is None else [float(weight) for weight in weights]
        check_weights(weights, len(members))
        if combination not in COMBINATIONS:
            raise UnsupportedModelError(f"combination must be one of {', '.join(COMBINATIONS)}, not {combination!r}")
        tokenizer = ensemble_tokenizer(members)
        markers: Any = tokenizer.convert_ids_to_tokens(list(range(256, len(tokenizer))))
        ends: dict[str, Any] = {
            name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")
        }
        config = ByteEnsembleConfig(
            members=[member.config for member in members], weights=weights, combination=combination,  # type: ignore[arg-type]
            markers=markers, dtype=reduce(torch.promote_types, [member.dtype for member in members]), **ends,
        )  # fmt: skip
        with torch.device("meta"):
            found = cls(config)
        found.members = nn.ModuleList(members)
        found.eval()
        found.generation_config = GenerationConfig(**ends)
        return found, tokenizer

    def base_tokenizers(self) -> dict[str, Any]:
        """Give the members' tokenizers by their folders in a checkpoint; None where one is unknown."""
        return {f"{BASE_TOKENIZER}_{number}": member.base_tokenizer for number, member in enumerate(self._members)}

    def _bases(self) -> dict[str, Any]:
        return {f"{BASE_TOKENIZER}_{number}": member.base for number, member in enumerate(self._members)}

    def _take_tokenizers(self, tokenizers: dict[str, Any]) -> None:
        for member, tokenizer in zip(self._members, tokenizers.values(), strict=True):
            member.set_base_tokenizer(tokenizer)

    @property
    def _members(self) -> list[ByteLevelForCausalLM]:
        found: Any = list(self.members)
        return found

    def get_input_embeddings(self) -> nn.Module:
        """Give the embedding of the first member's tokens."""
        return self._members[0].get_input_embeddings()

    @property
    def _logits_dtype(self) -> torch.dtype:
        exact = all(member.base.dtype == torch.float64 for member in self._members)
        return torch.float64 if exact else torch.float32

    def _new_cache(self) -> EnsembleCache:
        return EnsembleCache(len(self.members))

    @property
    def shares(self) -> np.ndarray:
        """Weights of the members, [members]; they add up to one."""
        weights = np.array(self.config.weights, dtype=np.float64)
        return weights / weights.sum()

    def _read(self, cache: EnsembleCache, ids: np.ndarray, seen: np.ndarray, kept: int) -> np.ndarray:
        self.check_ids(ids)
        seen = seen & (ids != self.config.pad_token_id)  # generate fills ended rows with it
        parts = []
        for member, own, part in zip(self._members, self._ids, cache.parts, strict=True):
            parts.append(own.shared(member.read(part, np.maximum(own.read_as[ids], 0), seen, kept)))
        found = self.combine(np.stack(parts))
        unread = ~seen[:, -kept:]
        unread[:, -1] = False  # there stands what comes after all that is read, as for a single model
        found[unread] = 0
        impossible = np.isneginf(found).all(axis=-1).any(axis=-1)
        if impossible.any():
            raise TextError(
                f"row {int(impossible.argmax())} comes to a text that {self._wanted()} no probability, or that they agree on "
                "no continuation of"
            )
        return found

    def _wanted(self) -> str:
        return "every member gives" if self.config.combination == "mixture" else "some member gives"

    def combine(self, parts: np.ndarray) -> np.ndarray:
        """Combine what the members say of the next id.

        Args:
            parts: [members, ..., ids of the ensemble] log probabilities.

        Returns:
            [..., ids of the ensemble]; they add up to one, unless all are minus infinity.
        """
        shares = self.shares.reshape(-1, *[1] * (parts.ndim - 1))
        if self.config.combination == "mixture":
            return normalised(np.logaddexp.reduce(parts + np.log(shares), axis=0))
        return normalised((parts * shares).sum(axis=0))

    def distributions(self, texts: Sequence[bytes]) -> list[tuple[np.ndarray, float, float]]:
        """Read texts to the end, each opened as each member opens one.

        Args:
            texts: N texts, none of them empty.

        Returns:
            For each text, log probabilities of every id before each of its bytes, [bytes, ids]; the share of the
            probability that the members have dropped on the way, added up and weighted like them; and that of the token
            sequences which were read on as others.

        Raises:
            TextError: a text is longer than a member's context.
        """
        rows: list[list[np.ndarray]] = [[] for _ in texts]
        dropped, merged = np.zeros(len(texts)), np.zeros(len(texts))
        for member, own, share in zip(self._members, self._ids, self.shares, strict=True):
            covers = member.view.texts(len(texts))
            opened = member.view.read(covers, [[] for _ in texts])
            first = [text.events()[None] for text in covers]
            for number, reading in enumerate(member.view.read(covers, [list(text) for text in texts], every=True)):
                assert reading.events is not None
                before = np.concatenate([first[number], reading.events[:-1]])
                rows[number].append(own.shared(member.columns(before)))
                dropped[number] += share * (opened[number].opening + reading.dropped.sum())
                merged[number] += share * reading.merged
        combined = [self.combine(np.stack(parts)) for parts in rows]
        return list(zip(combined, dropped.tolist(), merged.tolist(), strict=True))
