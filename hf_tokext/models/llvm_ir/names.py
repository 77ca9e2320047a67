"""Names that were spelt once and are referred to by a number from then on."""

from hf_tokext.models.llvm_ir.vocabulary_ir import POOL


class RecentNames:
    """The last names, each in a slot; a new one takes the oldest slot when all are taken."""

    def __init__(self) -> None:
        self._slots: list[str] = []
        self._place: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        """How many slots are taken."""
        return len(self._slots)

    def slot(self, name: str) -> int | None:
        """Find a name.

        Args:
            name: as it is spelt.

        Returns:
            Its slot, None where it has none.
        """
        return self._place.get(name)

    def name(self, slot: int) -> str:
        """Give the name in a slot.

        Args:
            slot: one that is taken.

        Returns:
            The name.
        """
        return self._slots[slot]

    def add(self, name: str) -> None:
        """Put a name into the next slot.

        Args:
            name: as it is spelt.
        """
        slot = self._count % POOL
        self._count += 1
        if slot < len(self._slots):
            if self._place.get(self._slots[slot]) == slot:
                del self._place[self._slots[slot]]
            self._slots[slot] = name
        else:
            self._slots.append(name)
        self._place[name] = slot
