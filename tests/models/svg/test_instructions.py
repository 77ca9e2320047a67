import pytest
import torch
from peft import TrainableTokensConfig, get_peft_model
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

from hf_tokext import domains_of, extend_model, trainable_rows
from hf_tokext.errors import VocabularyError
from hf_tokext.models.svg.domain import SVGDomain
from hf_tokext.models.svg.instructions import caption_of, drawing_dataset, read_drawings
from hf_tokext.vocabulary.spaces import Spaces
from tests.models.svg.icons import ARCS, FLAG
from tests.tiny_models import tiny
from tests.tokenizers import byte_level


@pytest.mark.parametrize(
    ("text", "name", "caption"),
    [
        (FLAG, "x.svg", "Flag & pole: déjà vu"),
        (ARCS, "edit-copy_symbolic.svg", "edit copy symbolic"),
        ("<svg><title> </title><desc>Created with Sketch.</desc></svg>", "a/red-Car.svg", "red Car"),
        ("<svg><metadata><rdf:RDF><cc:Work><dc:title>Two\n cats</dc:title></cc:Work></rdf:RDF></metadata></svg>", "c.svg", "Two cats"),
        ("<svg><g><title>part</title></g></svg>", "", ""),
        ("<svg><title>untitled</title></svg>", "", ""),
    ],
)  # fmt: skip
def test_captions(text, name, caption):
    assert caption_of(text, name) == caption


@pytest.fixture
def folder(tmp_path):
    for name, text in {"a-flag.svg": FLAG, "b-arcs.svg": ARCS, "c-again.svg": FLAG, "d-bad.svg": "<svg>"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "e-latin.svg").write_bytes(b"<svg>\xe9</svg>")
    return tmp_path


def test_files_are_read_once_and_bad_ones_named(folder):
    domain = SVGDomain("quantised")
    found, left_out = read_drawings([*sorted(folder.iterdir()), folder / "none.svg"], domain)
    assert [(each.caption, each.name) for each in found] == [
        ("Flag & pole: déjà vu", "a-flag.svg"),
        ("b arcs", "b-arcs.svg"),
    ]
    assert found[0].drawing == domain.write(domain.parse(FLAG))
    assert [each.path for each in found] == [str(folder / each.name) for each in found]
    reasons = {path.rpartition("/")[2]: reason for path, reason in left_out.items()}
    assert set(reasons) == {"c-again.svg", "d-bad.svg", "e-latin.svg", "none.svg"}
    assert reasons["c-again.svg"] == "it equals a-flag.svg" and "no well-formed XML" in reasons["d-bad.svg"]


def test_both_stages_train(folder, tmp_path):
    base = byte_level(300)
    model, tokenizer, _ = extend_model(tiny("llama", vocab_size=len(base)), base, ["svg"], calibrate=False)
    domain = domains_of(tokenizer)["svg"]
    drawings, _ = read_drawings(sorted(folder.iterdir()), domain)
    for stage in ("alignment", "instruction"):
        rows, long = drawing_dataset(drawings, tokenizer, domain, stage, 4000)
        assert len(rows) == 2 and long == []
        for row in rows:
            answer = [label for label in row["labels"] if label != -100]
            assert len(row["labels"]) == len(row["input_ids"]) == len(row["attention_mask"])
            assert row["input_ids"][-len(answer) :] == answer
        first, second = (tokenizer.decode([label for label in row["labels"] if label != -100]) for row in rows)
        if stage == "alignment":
            assert first.startswith("Flag & pole: déjà vu\n") and domain.documents(second) == [drawings[1].drawing]
        else:
            assert domain.documents(first) == [drawings[0].drawing] and second.startswith("b arcs")
        if stage == "instruction":
            assert "Draw this as SVG: Flag" in tokenizer.decode(rows[0]["input_ids"])
        collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
        options = TrainingArguments(
            str(tmp_path / "out"), max_steps=1, report_to="none", use_cpu=True, save_strategy="no"
        )
        loss = Trainer(model, options, data_collator=collator, train_dataset=rows).train().training_loss
        assert 0 < loss < 20
    rows, long = drawing_dataset(drawings, tokenizer, domain, "alignment", 50)
    assert len(rows) == 0 and long == ["a-flag.svg", "b-arcs.svg"]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT 0.21: the old name
def test_the_first_stage_may_train_new_rows_alone(folder, tmp_path):
    """As LLM4SVG's first stage: what the base knew stays as it is, bit by bit."""
    base = byte_level(300)
    model, tokenizer, _ = extend_model(tiny("llama", vocab_size=len(base)), base, ["svg"], calibrate=False)
    space = Spaces.read(tokenizer)["svg"]
    new = range(space.base, space.base + space.size)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = trainable_rows(model, new)
    modules = list(rows) if isinstance(rows, dict) else ["embed_tokens"]
    adapted = get_peft_model(model, TrainableTokensConfig(target_modules=modules, token_indices=list(new)))
    domain = domains_of(tokenizer)["svg"]
    drawings, _ = read_drawings(sorted(folder.iterdir()), domain)
    rows, _ = drawing_dataset(drawings, tokenizer, domain, "alignment", 4000)
    options = TrainingArguments(
        str(tmp_path / "out"), max_steps=2, learning_rate=0.1, report_to="none", use_cpu=True, save_strategy="no"
    )
    collator = DataCollatorForSeq2Seq(tokenizer, padding=True)
    Trainer(adapted, options, data_collator=collator, train_dataset=rows).train()
    after = adapted.merge_and_unload().state_dict()
    tables = {"model.embed_tokens.weight", "lm_head.weight"} & set(before)
    assert tables and all(torch.equal(before[name], after[name]) for name in set(before) - tables)
    for name in tables:
        moved = (before[name] != after[name]).any(1)
        assert not moved[: space.base].any() and moved[space.base :].any()


def test_what_cannot_be_made(folder):
    base = byte_level(300)
    with pytest.raises(VocabularyError, match="the stages are alignment and instruction"):
        drawing_dataset([], base, SVGDomain(), "third", 10)
    with pytest.raises(VocabularyError, match="extend the model by the domain first"):
        drawing_dataset([], base, SVGDomain(), "alignment", 10)
