import pickle

import pytest
import torch

pytest.importorskip("rdkit")
pytest.importorskip("selfies")
from torch.utils.data import DataLoader

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.molecule.collator import MoleculeCollator
from hf_tokext.models.molecule.processing_molecule import MoleculeProcessor
from hf_tokext.models.molecule.tokenization_molecule import MoleculeTokenizer
from tests.models.molecule.conftest import ASPIRIN, WORDS

ALONE = MoleculeProcessor(MoleculeTokenizer(), seed=3)


@pytest.fixture
def collator(processor):
    sentinels = processor.tokenizer.convert_tokens_to_ids([f"<extra_{number}>" for number in range(9)])
    return MoleculeCollator(processor, sentinels, processor.tokenizer.convert_tokens_to_ids("<extra_9>"), rate=0.3)


def restored(inputs, target, sentinels):
    """The row that spans were taken from."""
    spans, last = {}, None
    for token in target:
        if token in sentinels:
            spans[last := token] = []
        else:
            spans[last].append(token)
    return [each for token in inputs for each in spans.get(token, [token])]


def test_denoising_can_be_undone_and_sentinels_have_no_atom(collator, processor):
    row = processor.encode(WORDS, ASPIRIN, add_special_tokens=False)
    inputs, target = collator.corrupt(row)
    assert restored(inputs["input_ids"].tolist(), target.tolist(), collator.sentinels) == row["input_ids"].tolist()
    masked = torch.isin(inputs["input_ids"], torch.tensor(collator.sentinels))
    assert masked.sum() > 1 and (inputs["side_ids"][masked] == -1).all()
    kept = torch.isin(row["input_ids"], inputs["input_ids"]).all()
    assert not kept and (inputs["side_ids"][~masked] >= 0).any()


def test_every_task_ends_inputs_and_labels_as_the_tokenizer_does(collator, processor):
    eos = processor.tokenizer.eos_token_id
    for task in ("denoise", "3d_to_1d", "molecule_to_text", "text_to_molecule"):
        batch = collator([{"task": task, "text": WORDS, "molecule": ASPIRIN}])
        for name in ("input_ids", "labels"):
            assert (batch[name] == eos).sum() == 1 and batch[name][0, -1] == eos, (task, name)


def test_each_task_has_its_sides(collator, processor):
    molecule, text = processor.encode("", ASPIRIN), processor.tokenizer(WORDS).input_ids
    batch = collator([{"task": "molecule_to_text", "text": WORDS, "molecule": ASPIRIN}])
    assert torch.equal(batch["side_ids"][0], molecule["side_ids"]) and batch["labels"][0].tolist() == text
    batch = collator([{"task": "text_to_molecule", "text": WORDS, "molecule": ASPIRIN}])
    assert (batch["side_ids"] == -1).all() and batch["input_ids"][0].tolist() == text
    assert torch.equal(batch["labels"][0], molecule["input_ids"])
    batch = collator([{"task": "3d_to_1d", "molecule": ASPIRIN}, {"task": "denoise", "text": WORDS}])
    there = batch["side_ids"][0, :, 0] >= 0
    assert (batch["input_ids"][0][there] == collator.mask_id).all() and there.sum() == 13
    assert torch.equal(batch["labels"][0], molecule["input_ids"])
    assert (batch["labels"][1] == -100).any()


def test_molecules_alone(processor):
    collator = MoleculeCollator(ALONE, [900, 901], 902)
    batch = collator([{"task": "3d_to_1d", "molecule": ASPIRIN}, {"task": "denoise", "molecule": "CO", "text": None}])
    assert (batch["input_ids"][0] == 902).sum() == 13 == (batch["side_ids"][0, :, 0] >= 0).sum()
    assert batch["labels"][0].tolist() == ALONE.encode("", ASPIRIN)["input_ids"].tolist()


@pytest.mark.parametrize(
    ("example", "error", "says"),
    [
        ({"task": "fold", "molecule": "CO"}, VocabularyError, "none of denoise"),
        ({"molecule": "CO"}, VocabularyError, "none of denoise"),
        ({"task": "denoise"}, TextError, "no text and no molecule"),
        ({"task": "3d_to_1d", "text": WORDS}, TextError, "no molecule"),
        ({"task": "molecule_to_text", "molecule": "CO", "text": ""}, TextError, "no text"),
        ({"task": "text_to_molecule", "text": WORDS, "molecule": None}, TextError, "no molecule"),
    ],
)
def test_examples_that_lack_something_are_refused(collator, example, error, says):
    with pytest.raises(error, match=says):
        collator([example])


def test_spans_differ_between_workers_and_epochs():
    """A copy of one random state in every worker, and anew in every epoch, would always mask the same."""
    collator = pickle.loads(pickle.dumps(MoleculeCollator(ALONE, list(range(900, 920)), 902, rate=0.5)))
    data = [{"task": "denoise", "molecule": ASPIRIN}] * 2
    loader = DataLoader(data, collate_fn=collator, num_workers=2, generator=torch.Generator().manual_seed(0))
    seen = {tuple(batch["labels"][0].tolist()) for _ in range(2) for batch in loader}
    assert len(seen) == 4
    here = [MoleculeCollator(ALONE, list(range(900, 920)), 902, rate=0.5)(data[:1])["labels"] for _ in range(2)]
    assert torch.equal(*here)
