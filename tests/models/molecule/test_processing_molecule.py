import pytest
import torch

pytest.importorskip("rdkit")
from hf_tokext.models.molecule.alignment import align_atoms
from hf_tokext.models.molecule.collator import MoleculeCollator
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP
from hf_tokext.models.molecule.processing_molecule import MoleculeProcessor
from hf_tokext.models.molecule.tokenization_molecule import MoleculeTokenizer

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
PROCESSOR = MoleculeProcessor(MoleculeTokenizer(), seed=3)


def test_symbols_have_the_elements_of_their_atoms():
    molecule, domain = read_molecule("CC(=O)[O-].[Na+]"), MoleculeDomain()
    found = align_atoms(molecule, domain)
    made = {domain.tokens[token]: int(atom) for token, atom in zip(found.tokens, found.atoms, strict=True) if atom >= 0}
    assert {name: molecule.GetAtomWithIdx(atom).GetSymbol() for name, atom in made.items()} == {
        "[C]": "C", "[=O]": "O", "[O-1]": "O", "[Na+1]": "Na",
    }  # fmt: skip
    assert sorted(found.atoms[found.atoms >= 0]) == list(range(5))


def test_side_ids_are_those_of_the_atoms_and_padding_has_none():
    batch = PROCESSOR(molecules=[ASPIRIN, "CO"])
    molecule = read_molecule(ASPIRIN, 3)
    atoms = align_atoms(molecule, MoleculeDomain()).atoms
    assert batch["side_ids"][0][atoms >= 0].tolist() == E3FP().ids(molecule)[atoms[atoms >= 0]].tolist()
    assert (batch["side_ids"][0][atoms < 0] == -1).all()
    assert (batch["side_ids"][1][batch["attention_mask"][1] == 0] == -1).all()
    assert (PROCESSOR(molecules=[ASPIRIN], dimensions=1)["side_ids"] == -1).all()


def test_a_saved_processor_is_the_same(tmp_path):
    made = MoleculeProcessor(MoleculeTokenizer(), e3fp={"levels": 3, "bits": 512}, seed=5)
    made.save_pretrained(tmp_path)
    loaded = MoleculeProcessor.from_pretrained(tmp_path)
    assert (loaded.e3fp, loaded.seed) == (made.e3fp, 5)
    for name, value in made(molecules=[ASPIRIN]).items():
        assert torch.equal(loaded(molecules=[ASPIRIN])[name], value)


def test_denoising_can_be_undone_and_sentinels_have_no_atom():
    size = len(PROCESSOR.tokenizer)
    sentinels = list(range(size, size + 10))
    collator = MoleculeCollator(PROCESSOR, sentinels, size + 10, rate=0.3)
    row = PROCESSOR.encode("", ASPIRIN)
    inputs, target = collator.corrupt(row)
    spans, last = {}, None
    for token in target.tolist():
        if token >= size:
            spans[last := token] = []
        else:
            spans[last].append(token)
    whole = [each for token in inputs["input_ids"].tolist() for each in (spans[token] if token >= size else [token])]
    assert whole == row["input_ids"].tolist()
    assert (inputs["side_ids"][inputs["input_ids"] >= size] == -1).all()


def test_three_dimensions_to_one():
    collator = MoleculeCollator(PROCESSOR, [900, 901], 902)
    batch = collator([{"task": "3d_to_1d", "molecule": ASPIRIN}, {"task": "denoise", "molecule": "CO"}])
    assert (batch["input_ids"][0] == 902).sum() == 13 == (batch["side_ids"][0, :, 0] >= 0).sum()
    assert batch["labels"][0].tolist() == PROCESSOR.encode("", ASPIRIN)["input_ids"].tolist()
