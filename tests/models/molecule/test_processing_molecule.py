import pytest
import torch

pytest.importorskip("rdkit")
pytest.importorskip("selfies")
from transformers import AutoProcessor

from hf_tokext import push_checkpoint
from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.extend import keep_to_grammar
from hf_tokext.models.molecule.alignment import align_atoms
from hf_tokext.models.molecule.conformers import read_molecule
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP
from hf_tokext.models.molecule.processing_molecule import MoleculeProcessor
from hf_tokext.models.molecule.tokenization_molecule import MoleculeTokenizer
from hf_tokext.models.side_channel.modeling_side_channel import (
    SideChannelForCausalLM,
    SideChannelForConditionalGeneration,
)
from tests.another_process import run_program
from tests.hub.conftest import hub  # noqa: F401
from tests.models.molecule.conftest import ASPIRIN, WORDS, extended
from tests.tokenizers import byte_level

ALONE = MoleculeProcessor(MoleculeTokenizer(), seed=3)
TABLES = {"shells": {"size": 4096, "levels": 4, "std": 1.0}}


def same(one, other, **inputs):
    found, expected = one(**inputs), other(**inputs)
    return all(torch.equal(found[name], expected[name]) for name in ("input_ids", "attention_mask", "side_ids"))


@pytest.mark.parametrize("notation", ["selfies", "smiles"])
def test_side_ids_are_those_of_the_atoms_and_padding_has_none(notation):
    made = MoleculeProcessor(MoleculeTokenizer(domain_settings={"notation": notation}), seed=3)
    batch = made(molecules=[ASPIRIN, "CO"])
    molecule = read_molecule(ASPIRIN, 3)
    atoms = align_atoms(molecule, MoleculeDomain(notation)).atoms
    assert batch["side_ids"][0][atoms >= 0].tolist() == E3FP().ids(molecule)[atoms[atoms >= 0]].tolist()
    assert (batch["side_ids"][0][atoms < 0] == -1).all()
    assert (batch["side_ids"][1][batch["attention_mask"][1] == 0] == -1).all()
    assert (made(molecules=[ASPIRIN], dimensions=1)["side_ids"] == -1).all()


def test_text_and_molecule_stand_between_the_tokens_around_a_text(processor):
    tokenizer, domain = processor.tokenizer, MoleculeDomain()
    row = processor.encode(WORDS, ASPIRIN)
    text = tokenizer(WORDS, add_special_tokens=False).input_ids
    aligned = align_atoms(read_molecule(ASPIRIN, 3), domain)
    molecule = tokenizer.convert_tokens_to_ids([domain.text_of(index) for index in aligned.tokens])
    assert row["input_ids"].tolist() == [*text, *molecule, tokenizer.eos_token_id]
    assert tokenizer.decode(row["input_ids"]) == WORDS + domain.spell(aligned.text) + "</s>"
    assert (row["side_ids"][:, 0] >= 0).sum() == 13
    assert (row["side_ids"][: len(text)] == -1).all() and (row["side_ids"][-1] == -1).all()
    assert processor.encode(WORDS)["input_ids"].tolist() == tokenizer(WORDS).input_ids
    assert processor.molecules([row["input_ids"], tokenizer(WORDS).input_ids]) == [[domain.to_smiles(aligned.text)], []]


def test_rows_are_padded_on_the_side_of_the_tokenizer(processor):
    rows = [processor.encode(WORDS), processor.encode("", "CO")]
    right = processor.pad_rows(rows)
    tokenizer, side = processor.tokenizer, processor.tokenizer.padding_side
    tokenizer.padding_side = "left"
    left = processor.pad_rows(rows)
    tokenizer.padding_side = side
    for batch, here in (
        (right, slice(None, len(rows[0]["input_ids"]))),
        (left, slice(-len(rows[0]["input_ids"]), None)),
    ):
        assert torch.equal(batch["input_ids"][0][here], rows[0]["input_ids"])
        assert batch["attention_mask"][0][here].all() and batch["attention_mask"][0].sum() == len(rows[0]["input_ids"])


@pytest.mark.parametrize("kind", ["alone", "with texts"])
def test_a_saved_processor_is_the_same_in_another_process(tmp_path, processor, kind):
    tokenizer = MoleculeTokenizer() if kind == "alone" else processor.tokenizer
    made = MoleculeProcessor(tokenizer, e3fp={"levels": 3, "bits": 512}, seed=5)
    made.save_pretrained(tmp_path)
    text = None if kind == "alone" else [WORDS]
    batch = made(text, molecules=[ASPIRIN])
    torch.save(dict(batch), tmp_path / "batch.pt")
    program = (
        "import torch, hf_tokext\n"
        "from transformers import AutoProcessor\n"
        f"made = AutoProcessor.from_pretrained({str(tmp_path)!r})\n"
        "assert type(made) is hf_tokext.MoleculeProcessor and made.e3fp['levels'] == 3 and made.seed == 5, made\n"
        f"batch = made({text!r}, molecules=[{ASPIRIN!r}])\n"
        f"expected = torch.load({str(tmp_path / 'batch.pt')!r})\n"
        "assert all(torch.equal(batch[name], expected[name]) for name in expected) and len(expected) == 3\n"
    )
    run_program(program, check=True)


def test_push_and_pull(hub, tmp_path, t5):  # noqa: F811
    processor = MoleculeProcessor(t5[1], e3fp={"bits": 1024}, seed=1)
    model = SideChannelForConditionalGeneration.from_backbone(t5[0], {"shells": {"size": 1024, "levels": 4}})
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    pushed = push_checkpoint(tmp_path / "model", "me/model")
    assert pushed.left_out == []
    there = AutoProcessor.from_pretrained("me/model", cache_dir=tmp_path / "cache")
    assert type(there) is MoleculeProcessor and there.e3fp == processor.e3fp
    assert same(there, processor, text=[WORDS], molecules=[ASPIRIN])


def test_a_mixed_batch_gives_every_sample_the_loss_it_has_alone(processor, t5):
    """In 3D-MolT5 one molecule's ids change the embeddings of all others in its batch."""
    model = SideChannelForConditionalGeneration.from_backbone(t5[0], TABLES).double().eval()
    labels = t5[1](WORDS, return_tensors="pt").input_ids
    rows = {"text": [WORDS, "", "the dog", ""], "molecules": [ASPIRIN, None, None, "CO"]}
    rows["text"][1] = "on the mat and the log"

    def losses(**inputs):
        batch = processor(**inputs)
        with torch.no_grad():
            logits = model(**batch, labels=labels.repeat(len(inputs["text"]), 1)).logits
        losses = torch.nn.functional.cross_entropy(logits.mT, labels.repeat(len(logits), 1), reduction="none")
        return losses.mean(1)

    alone = [losses(text=[text], molecules=[each]) for text, each in zip(rows["text"], rows["molecules"], strict=True)]
    assert torch.allclose(losses(**rows), torch.cat(alone), rtol=0, atol=1e-12)
    flat = [None, *rows["molecules"][1:]]
    assert not torch.allclose(losses(**rows | {"molecules": flat})[0], alone[0], rtol=0, atol=1e-3)


def test_a_causal_model_writes_molecules_from_texts_and_ids():
    model, tokenizer = extended("llama")
    model = SideChannelForCausalLM.from_backbone(model, TABLES).eval()
    tokenizer.padding_side = "left"
    processor = MoleculeProcessor(tokenizer)
    batch = processor([WORDS, "a"], molecules=[ASPIRIN, None])
    length = batch["input_ids"].shape[1] + 30
    written = model.generate(
        **batch, max_length=length, do_sample=False, logits_processor=[keep_to_grammar(tokenizer, length, "molecule")]
    )
    found = processor.molecules(written[:, batch["input_ids"].shape[1] :])
    assert [len(row) for row in found] == [1, 1]


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        ({}, TextError, "give one of each"),
        ({"molecules": []}, TextError, "give one of each"),
        ({"text": ["a", "b"], "molecules": ["CO"]}, TextError, "2 texts and 1 molecules"),
        ({"text": ["a text"], "molecules": ["CO"]}, TextError, "reads no text"),
        ({"molecules": ["C("]}, TextError, "reads no molecule"),
    ],
)
def test_wrong_inputs_are_refused(inputs, error, says):
    with pytest.raises(error, match=says):
        ALONE(**inputs)


def test_a_tokenizer_without_molecules_is_refused():
    with pytest.raises(VocabularyError, match="extend"):
        MoleculeProcessor(byte_level(300))(["a"], molecules=["CO"])
