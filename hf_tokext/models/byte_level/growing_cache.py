"""Keys and values that are appended to, not copied, at every pass."""

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

SPARE = 64  # places that are made room for at least


class GrowingLayer(DynamicLayer):
    """One layer's keys and values, [B, heads, places, width] each, at the front of tensors that have room for more."""

    keys: Any  # tensors from the first update on
    values: Any

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append.

        Args:
            key_states: [B, heads, new places, width].
            value_states: [B, heads, new places, width].
            *args: as upstream, not used.
            **kwargs: as upstream, not used.

        Returns:
            All keys and all values; views, which the next call may leave behind.
        """
        start = self.get_seq_length()
        stop = start + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room: list[Tensor] = []
        if not self._room or stop > self._room[0].shape[-2]:
            self._room = [
                _roomier(known, new, stop) for known, new in ((self.keys, key_states), (self.values, value_states))
            ]
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[..., start:stop, :] = new
        self.keys, self.values = (room[..., :stop, :] for room in self._room)
        return self.keys, self.values

    def keep(self, places: Tensor) -> None:
        """Forget all but some places.

        Args:
            places: [n] indices, in the order in which they then stand.
        """
        places = places.to(self.keys.device)
        self.keys, self.values = self.keys.index_select(-2, places), self.values.index_select(-2, places)
        self._room = []


def growing_cache() -> DynamicCache:
    """Make an empty cache of such layers; a model adds one for each of its own."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = GrowingLayer
    return cache


def _roomier(known: Tensor, new: Tensor, stop: int) -> Tensor:
    room = new.new_empty(*new.shape[:-2], stop + max(stop // 2, SPARE), new.shape[-1])
    if known.numel():
        room[..., : known.shape[-2], :] = known
    return room
