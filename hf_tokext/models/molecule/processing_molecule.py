"""Texts and molecules together: token ids, and the ids of atoms in three dimensions beside them."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import BatchFeature
from transformers.utils.generic import to_py_obj

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.blocks.processor import InstalledProcessor
from hf_tokext.models.molecule.alignment import align_atoms
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP
from hf_tokext.vocabulary.spaces import Spaces


class MoleculeProcessor(InstalledProcessor):
    """Makes the inputs of a model that mixes ids of atoms into its embeddings (3D-MolT5, arXiv 2406.05797).

    A row is a text, then a molecule, between the special tokens that the tokenizer puts around a text. Rows are padded on
    the tokenizer's `padding_side`.

    Args:
        tokenizer: a `MoleculeTokenizer`, or the tokenizer of a model that was extended by the domain "molecule".
        e3fp: settings of `E3FP`; None for its defaults.
        seed: of conformers that are generated, 0 or above.
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
            VocabularyError: the tokenizer has no tokens of molecules.
        """
        texts = [text] if isinstance(text, str) else text
        given = molecules if molecules is None or isinstance(molecules, list | tuple) else [molecules]
        size = len(texts if texts is not None else given or [])
        texts = [""] * size if texts is None else texts
        given = [None] * size if given is None else given
        if not size or len(texts) != len(given):
            raise TextError(f"{len(texts)} texts and {len(given)} molecules; give one of each per row")
        rows = [self.encode(each, molecule, dimensions) for each, molecule in zip(texts, given, strict=True)]
        return BatchFeature(self.pad_rows(rows))

    def encode(
        self, text: str, molecule: Any = None, dimensions: int = 3, add_special_tokens: bool = True
    ) -> dict[str, torch.Tensor]:
        """Encode one row, without padding.

        Args:
            text: before the molecule; may be empty.
            molecule: as for a batch.
            dimensions: 1 leaves the ids of atoms away.
            add_special_tokens: those around a text, such as T5's end; a molecule's own two always stand.

        Returns:
            `input_ids` [T] and `side_ids` [T, levels].

        Raises:
            TextError: the molecule cannot be read, or there is a text and the tokenizer is one of molecules only.
            VocabularyError: the tokenizer has no tokens of molecules.
        """
        if text and hasattr(self.tokenizer, "domain"):
            raise TextError(
                f"{type(self.tokenizer).__name__} reads no text such as {text[:40]!r}; extend a tokenizer of texts"
            )
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids if text else []
        settings = E3FP(**self.e3fp)
        side = torch.full((len(ids), settings.levels), -1, dtype=torch.long)
        if molecule is not None:
            domain = self._domain()
            found = read_molecule(molecule, self.seed)
            aligned = align_atoms(found, domain)
            ids = [*ids, *self.tokenizer.convert_tokens_to_ids([domain.text_of(index) for index in aligned.tokens])]
            here = torch.full((len(aligned.tokens), settings.levels), -1, dtype=torch.long)
            if dimensions == 3:
                atoms = torch.from_numpy(aligned.atoms)
                here[atoms >= 0] = torch.from_numpy(settings.ids(found))[atoms[atoms >= 0]]
            side = torch.cat([side, here])
        row = {"input_ids": torch.tensor(ids, dtype=torch.long), "side_ids": side}
        return self.add_special_tokens(row) if add_special_tokens else row

    def add_special_tokens(self, row: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Put the special tokens of a text around a row.

        Args:
            row: `input_ids` [T] and `side_ids` [T, levels].

        Returns:
            The longer row, -1 beside what is added.
        """
        if hasattr(self.tokenizer, "domain"):
            return row  # a molecule has its own already
        whole = self.tokenizer("a").input_ids
        plain = self.tokenizer("a", add_special_tokens=False).input_ids
        before = next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
        after = len(whole) - before - len(plain)
        ids = torch.tensor(whole[:before] + row["input_ids"].tolist() + whole[before + len(plain) :], dtype=torch.long)
        return {"input_ids": ids, "side_ids": functional.pad(row["side_ids"], (0, 0, before, after), value=-1)}

    def pad_rows(self, rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Make a batch of rows.

        Args:
            rows: `input_ids` [T] and `side_ids` [T, levels] each.

        Returns:
            `input_ids`, `attention_mask` [B, T] and `side_ids` [B, T, levels], -1 where padded.
        """
        pad = partial(pad_sequence, batch_first=True, padding_side=self.tokenizer.padding_side)
        ids = [row["input_ids"] for row in rows]
        return {
            "input_ids": pad(ids, padding_value=self.tokenizer.pad_token_id or 0),
            "attention_mask": pad([torch.ones_like(each) for each in ids]),
            "side_ids": pad([row["side_ids"] for row in rows], padding_value=-1),
        }

    def molecules(self, ids: Any) -> list[list[str]]:
        """Find the molecules in what a model has written.

        Args:
            ids: [B, T] ids, as `generate` gives them.

        Returns:
            For each row the SMILES of its molecules, in order; RDKit reads those of SELFIES.

        Raises:
            VocabularyError: the tokenizer has no tokens of molecules.
        """
        domain = self._domain()
        rows = [self.tokenizer.convert_ids_to_tokens(row) for row in to_py_obj(ids)]
        return [[domain.to_smiles(each) for each in domain.documents("".join(map(str, row)))] for row in rows]

    def _domain(self) -> MoleculeDomain:
        """The domain whose tokens the tokenizer has."""
        own: MoleculeDomain | None = getattr(self.tokenizer, "domain", None)
        if own is not None:
            return own
        space = Spaces.read(self.tokenizer).get(MoleculeDomain.name)
        if space is None:
            raise VocabularyError(
                'the tokenizer has no tokens of molecules; extend its model by the domain "molecule" first '
                "(hf_tokext.extend_model), or give a MoleculeTokenizer"
            )
        domain = _made(**space.settings)
        texts = [domain.text_of(index) for index in range(len(domain.tokens))]
        if self.tokenizer.convert_tokens_to_ids(texts) != list(range(space.base, space.base + space.size)):
            raise VocabularyError(
                "the tokenizer's tokens of molecules are those of another release of hf_tokext; use that one"
            )
        return domain


@cache
def _made(**settings: Any) -> MoleculeDomain:
    """The domain of some settings, made once: its grammar remembers what it has worked out."""
    return MoleculeDomain(**settings)
