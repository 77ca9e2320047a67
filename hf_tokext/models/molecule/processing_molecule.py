"""Texts and molecules together: token ids, and the ids of atoms in three dimensions beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature, ProcessorMixin

from hf_tokext.errors import TextError
from hf_tokext.models.blocks.installed import InstalledCode
from hf_tokext.models.molecule.alignment import align_atoms
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP
from hf_tokext.registry import name_classes


class MoleculeProcessor(InstalledCode, ProcessorMixin):
    """Makes the inputs of a model that mixes ids of atoms into its embeddings (3D-MolT5, arXiv 2406.05797).

    Args:
        tokenizer: a `MoleculeTokenizer`, or a tokenizer that holds the tokens of `MoleculeDomain`.
        e3fp: settings of `E3FP`; None for its defaults.
        seed: of conformers that are generated.
        **kwargs: as for any processor of transformers.
    """

    def __init__(self, tokenizer: Any = None, e3fp: dict[str, Any] | None = None, seed: int = 0, **kwargs: Any) -> None:
        self.e3fp = E3FP(**(e3fp or {})).to_dict()
        self.seed = seed
        super().__init__(tokenizer, **kwargs)

    def __call__(  # type: ignore[override]
        self, text: Sequence[str] | str | None = None, molecules: Sequence[Any] | Any = None, dimensions: int = 3
    ) -> BatchFeature:
        """Encode a batch.

        Args:
            text: one per row, before the molecule; needs a tokenizer of texts.
            molecules: one per row: RDKit Mol, SDF (text or path) or SMILES; None for a row without.
            dimensions: 1 leaves the ids of atoms away.

        Returns:
            `input_ids` and `attention_mask` [B, T], `side_ids` [B, T, levels] with -1 where there is none.

        Raises:
            TextError: nothing is given, the two do not have one entry per row, or a molecule cannot be read.
        """
        texts = [text] if isinstance(text, str) else text
        given = molecules if molecules is None or isinstance(molecules, list | tuple) else [molecules]
        size = len(texts if texts is not None else given or [])
        texts = [""] * size if texts is None else texts
        given = [None] * size if given is None else given
        if not size or len(texts) != len(given):
            raise TextError(f"{len(texts)} texts and {len(given)} molecules; give one of each per row")
        rows = [self.encode(each, molecule, dimensions) for each, molecule in zip(texts, given, strict=True)]
        return BatchFeature(pad_rows(rows, self.tokenizer.pad_token_id or 0))

    def encode(self, text: str, molecule: Any = None, dimensions: int = 3) -> dict[str, torch.Tensor]:
        """Encode one row, without padding.

        Args:
            text: before the molecule; may be empty.
            molecule: as for a batch.
            dimensions: 1 leaves the ids of atoms away.

        Returns:
            `input_ids` [T] and `side_ids` [T, levels].
        """
        own = getattr(self.tokenizer, "domain", None)
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids if text else []
        settings = E3FP(**self.e3fp)
        side = torch.full((len(ids), settings.levels), -1, dtype=torch.long)
        if molecule is not None:
            domain = own or MoleculeDomain()
            found = read_molecule(molecule, self.seed)
            aligned = align_atoms(found, domain)
            names = [domain.text_of(index) for index in aligned.tokens]
            ids = [*ids, *(aligned.tokens if own else self.tokenizer.convert_tokens_to_ids(names))]
            here = torch.full((len(names), settings.levels), -1, dtype=torch.long)
            if dimensions == 3:
                atoms = torch.from_numpy(aligned.atoms)
                here[atoms >= 0] = torch.from_numpy(settings.ids(found))[atoms[atoms >= 0]]
            side = torch.cat([side, here])
        return {"input_ids": torch.tensor(ids, dtype=torch.long), "side_ids": side}

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save tokenizer and settings.

        Args:
            save_directory: folder.
            push_to_hub: as upstream.
            **kwargs: as upstream.

        Returns:
            As upstream.
        """
        written = super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)
        saved = Path(save_directory) / "processor_config.json"
        name_classes(saved, "hf_tokext", {"AutoProcessor": type(self).__name__})
        return written


def pad_rows(rows: Sequence[dict[str, torch.Tensor]], pad: int) -> dict[str, torch.Tensor]:
    """Make a batch of rows.

    Args:
        rows: `input_ids` [T] and `side_ids` [T, levels] each.
        pad: id of the padding.

    Returns:
        `input_ids`, `attention_mask` [B, T] and `side_ids` [B, T, levels], -1 where padded.
    """
    pads = torch.nn.utils.rnn.pad_sequence
    ids = [row["input_ids"] for row in rows]
    return {
        "input_ids": pads(ids, batch_first=True, padding_value=pad),
        "attention_mask": pads([torch.ones_like(each) for each in ids], batch_first=True),
        "side_ids": pads([row["side_ids"] for row in rows], batch_first=True, padding_value=-1),
    }
