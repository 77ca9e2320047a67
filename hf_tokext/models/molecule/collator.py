"""The joint tasks of 3D-MolT5 (arXiv 2406.05797, section 3.3) as a data collator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.molecule.processing_molecule import MoleculeProcessor

TASKS = {  # and what an example must have
    "denoise": (),
    "3d_to_1d": ("molecule",),
    "molecule_to_text": ("molecule", "text"),
    "text_to_molecule": ("molecule", "text"),
}


@dataclass
class MoleculeCollator:
    """Makes batches of encoder-decoder tasks; an example has "task", and "molecule" and "text" where the task needs them.

    "denoise": T5 span corruption of text and molecule with its atoms' ids, -1 at a sentinel. "3d_to_1d": ids of atoms
    without their symbols -> SELFIES. "molecule_to_text", "text_to_molecule": translation. Inputs and labels have the special
    tokens of the tokenizer, such as T5's end, which are never masked.

    Args:
        processor: encodes texts and molecules.
        sentinels: ids of sentinels in their order.
        mask_id: stands for every hidden symbol in "3d_to_1d".
        rate: share of tokens that are masked.
        span: mean length of a span.
        seed: of the spans; in the workers of a `DataLoader` theirs, which differ from each other and in every epoch.
    """

    processor: MoleculeProcessor
    sentinels: Sequence[int]
    mask_id: int
    rate: float = 0.15
    span: float = 3.0
    seed: int = 0
    _random: np.random.Generator | None = field(init=False, repr=False, default=None)
    _worker_seed: int | None = field(init=False, repr=False, default=None)

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Make a batch.

        Args:
            examples: as said above.

        Returns:
            `input_ids`, `attention_mask` [B, T], `side_ids` [B, T, levels], `labels` [B, U] with -100 where padded.

        Raises:
            VocabularyError: a task is unknown.
            TextError: an example lacks what its task needs, or a molecule cannot be read.
        """
        pairs = [self._pair(example) for example in examples]
        batch = self.processor.pad_rows([row for row, _ in pairs])
        labels = [target for _, target in pairs]
        batch["labels"] = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
        return batch

    def _pair(self, example: dict[str, Any]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        task, text, molecule = example.get("task"), example.get("text") or "", example.get("molecule")
        if task not in TASKS:
            raise VocabularyError(f"task {task!r} is none of {', '.join(TASKS)}")
        missing = [name for name in TASKS[task] if example.get(name) in (None, "")]
        if missing or (not text and molecule is None):
            raise TextError(
                f"an example of task {task!r} has no {' and no '.join(missing or ['text and no molecule'])}"
            )
        encode, finish = self.processor.encode, self.processor.add_special_tokens
        if task == "molecule_to_text":
            return encode("", molecule), encode(text)["input_ids"]
        if task == "text_to_molecule":
            return encode(text), encode("", molecule, 1)["input_ids"]
        if task == "3d_to_1d":
            row = encode("", molecule, add_special_tokens=False)
            there = (row["side_ids"] >= 0).any(-1)
            hidden = torch.full((int(there.sum()),), self.mask_id)
            target = finish(row)["input_ids"]
            return finish({"input_ids": hidden, "side_ids": row["side_ids"][there]}), target
        row, spans = self.corrupt(encode(text, molecule, add_special_tokens=False))
        return finish(row), finish({"input_ids": spans, "side_ids": row["side_ids"][:0]})["input_ids"]

    def corrupt(self, row: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Replace spans by sentinels (T5, arXiv 1910.10683, section 3.1.4).

        Args:
            row: `input_ids` [T] and `side_ids` [T, levels].

        Returns:
            The row with sentinels, -1 beside each, and the target: every sentinel and what it stands for, and one more.
        """
        ids, side = row["input_ids"], row["side_ids"]
        size = len(ids)
        masked = min(max(1, round(size * self.rate)), size - 1)
        count = min(max(1, round(masked / self.span)), masked, size - masked, len(self.sentinels) - 1)
        if size < 2 or count < 1:
            return row, torch.tensor([self.sentinels[0]])
        hidden, kept = self._split(masked, count), self._split(size - masked, count)
        inputs, sides, target, at = [], [], [], 0
        for sentinel, keep, hide in zip(self.sentinels, kept, hidden, strict=False):
            mark = torch.tensor([sentinel])
            inputs += [ids[at : at + keep], mark]
            sides += [side[at : at + keep], torch.full_like(side[:1], -1)]
            target += [mark, ids[at + keep : at + keep + hide]]
            at += keep + hide
        target.append(torch.tensor([self.sentinels[count]]))
        return {"input_ids": torch.cat(inputs), "side_ids": torch.cat(sides)}, torch.cat(target)

    def _split(self, total: int, parts: int) -> list[int]:
        """Random positive numbers with a sum."""
        worker = get_worker_info()
        if self._random is None or (worker and worker.seed != self._worker_seed):
            self._worker_seed = worker.seed if worker else None
            self._random = np.random.default_rng(worker.seed if worker else self.seed)
        cuts = sorted((self._random.permutation(total - 1)[: parts - 1] + 1).tolist())
        return [after - before for before, after in zip([0, *cuts], [*cuts, total], strict=True)]
