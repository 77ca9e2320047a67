"""Where base and donor came from, and what their own cards say about their licence."""

import json

import pytest
from transformers import AutoTokenizer

from hf_tokext.errors import UnsafeCheckpointError
from hf_tokext.transplant import transplant_checkpoint, transplant_tokenizer
from hf_tokext.transplant.origin import Origin, object_origin, origins
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import TEXT, byte_level

CARD = "---\nlicense: {}\n---\n# a card\n"


def folder(path, card=None):
    tiny_folder("llama", path, vocab_size=300)
    byte_level(300).save_pretrained(path)
    if card is not None:
        (path / "README.md").write_text(card)
    return path


@pytest.mark.parametrize(
    ("card", "found"),
    [
        (CARD.format("mit"), {"license": "mit"}),
        (CARD.format("[mit]"), {"license": "mit"}),
        (CARD.format("[mit, apache-2.0]"), {"license": "mit, apache-2.0"}),
        (
            "---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\ntags: [x]\n---\n",
            {"license": "other", "license_name": "own", "license_link": "LICENSE"},
        ),
        (CARD.format("unknown"), {}),
        (CARD.format("{a: b}"), {}),
        ("---\nlicense: [\n---\n", {}),
        ("---\n- a list\n---\n", {}),
        ("no metadata", {}),
        (None, {}),
    ],
)
def test_licences_are_those_of_the_cards(card, found, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    if card is not None:
        (base / "README.md").write_text(card)
    assert origins(base, None, trained=True)["base"] == Origin("base", "folder", found)


def test_a_card_of_absurd_size_is_not_read(tmp_path):
    (tmp_path / "README.md").write_text(CARD.format("mit") + "x" * 5_000_000)
    assert origins(tmp_path, None, trained=True)["base"].license == {}


def test_names_never_hold_a_path(tmp_path, monkeypatch):
    base = folder(tmp_path / "base")
    snapshot = tmp_path / "models--some--model" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    assert origins(snapshot, None, trained=True)["base"] == Origin("some/model", "hub")
    monkeypatch.chdir(base)
    assert origins(".", None, trained=True)["base"].name == "base"
    assert object_origin(AutoTokenizer.from_pretrained(base)) == Origin("base", "object")
    assert object_origin(byte_level()).name == "TokenizersBackend"
    assert object_origin(tiny("llama")).name == "LlamaForCausalLM"


def test_every_kind_of_donor(tmp_path):
    base = folder(tmp_path / "base", CARD.format("mit"))
    donor = folder(tmp_path / "donor", CARD.format("gemma"))
    assert origins(base, donor, trained=False)["donor"] == Origin("donor", "folder", {"license": "gemma"})
    assert origins(base, None, trained=False)["donor"] == Origin("base", "base", {"license": "mit"})
    assert origins(base, None, trained=True)["donor"].kind == "trained"
    assert origins(base, byte_level(), trained=False)["donor"].kind == "object"


def test_a_hub_id_is_looked_up_in_the_cache_alone(tmp_path):
    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text(CARD.format("mit"))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    found = origins("some/model", "no/such", trained=False, cache_dir=tmp_path)
    assert found == {"base": Origin("some/model", "hub", {"license": "mit"}), "donor": Origin("no/such", "hub")}


def test_the_report_knows_both_sides(tmp_path):
    base = folder(tmp_path / "base", CARD.format("mit"))
    donor = folder(tmp_path / "donor")
    report = transplant_checkpoint(base, donor, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "hf_tokext_report.json").read_text())
    assert written["base"] == {"name": "base", "kind": "folder", "license": {"license": "mit"}}
    assert written["donor"] == {"name": "donor", "kind": "folder", "license": {}}
    assert "Base: `base`. Tokenizer: `donor`." in report.to_markdown().splitlines()
    assert str(tmp_path) not in (tmp_path / "out" / "hf_tokext_report.json").read_text()
    dry = transplant_checkpoint(base, None, tmp_path / "x", train_on=[TEXT], vocab_size=280, dry_run=True)
    assert (dry.base.name, dry.donor.kind) == ("base", "trained")


def test_objects_are_named_too():
    _, _, report = transplant_tokenizer(tiny("llama", vocab_size=300), byte_level(300), byte_level(310))
    assert report.base == Origin("LlamaForCausalLM", "object") and report.donor.kind == "object"


def test_a_licence_file_that_is_a_link_elsewhere_is_refused(tmp_path):
    base = folder(tmp_path / "base")
    (tmp_path / "secret").write_text("secret")
    (base / "LICENSE").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeCheckpointError, match="LICENSE"):
        transplant_checkpoint(base, byte_level(310), tmp_path / "out")
    assert not (tmp_path / "out").exists()
