"""Cards say what the report says, claim no licence that is not known, and never replace what somebody wrote."""

import json
from dataclasses import asdict

import pytest
from huggingface_hub import ModelCard

from hf_tokext import CheckpointError, OutputExistsError, TextError, write_card
from hf_tokext.cli import main
from hf_tokext.hub.cards import card_for_push, is_generated, render_card
from hf_tokext.hub.licences import licence_of
from hf_tokext.training.recovery import HealReport, RecoveryPoint
from tests.another_process import run_program

REPORT = "hf_tokext_report.json"
HUB = {"name": "some/base", "kind": "hub", "license": {"license": "apache-2.0"}}
OWN = {"name": "a tokenizer trained on own text", "kind": "trained", "license": {}}


def report(folder, **changes):
    path = folder / REPORT
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def healed(*bits, train="lora"):
    curve = [RecoveryPoint(step, 100 * step, value) for step, value in enumerate(bits)]
    return asdict(HealReport(train, 8, 1_234, 1.5, 1e-3, 0, 10, 100, 1.0, curve=curve))


def donor(licence, **more):
    return {"name": "some/donor", "kind": "hub", "license": {"license": licence, **more} if licence else {}}


def test_a_card_of_a_transplant(folder):
    report(folder, base=HUB)
    card = ModelCard(render_card(folder, repo_id="me/mine"))
    data = card.data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["hf_tokext", "tokenizer-transplant"],
        "base_model": "some/base",
        "license": "apache-2.0",
    }
    found = json.loads((folder / REPORT).read_text())
    assert "\n# mine\n" in card.text and "[`some/base`](https://huggingface.co/some/base)" in card.text
    assert f"| anchor | {found['counts']['anchor']} | copied from the old token of the same bytes |" in card.text
    text = found["text"]
    assert f"{text['tokens_before']} tokens before, {text['tokens_after']} after" in card.text
    assert f"{text['tokens_before'] / text['bytes']:.3f} -> {text['tokens_after'] / text['bytes']:.3f}" in card.text
    assert found["warnings"] and all(f"* {warning}\n" in card.text for warning in found["warnings"])
    assert "Not trained since its tokenizer was changed" in card.text and "are the base's own." in card.text
    assert 'name = "me/mine"' in card.text and "without `trust_remote_code`" in card.text
    assert "## Healing" not in card.text and "## Measured" not in card.text


def test_a_card_of_a_healed_one_has_the_curve_and_its_end_as_a_result(folder):
    report(folder, heal=[healed(3.5, 3.0), healed(2.75, 2.5)])
    card = ModelCard(render_card(folder))
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == (
        "bits_per_byte",
        2.5,
        "held-out text of the healing run",
    )
    assert card.data.model_name == "model"
    assert "## Healing 1" in card.text and "| 1 | 100 | 2.5000 |" in card.text and "1,234 tokens seen" in card.text
    assert "Not trained" not in card.text and "were trained on afterwards" in card.text
    report(folder, heal=[healed(3.5, 3.0, train="rows")])
    assert "are the base's own." in render_card(folder)
    report(folder, heal=[healed(3.5, 3.0), healed()])  # the last run measured nothing
    assert ModelCard(render_card(folder)).data.eval_results is None


def test_measured_bits_become_a_table_and_a_result(folder, tmp_path):
    base = tmp_path / "somewhere" / "base"
    base.mkdir(parents=True)
    entries = [
        {"model": str(base), "bits_per_byte": 1.25, "tokens_per_byte": 0.5, "caveat": None},
        {"model": str(folder), "bits_per_byte": 1.5, "tokens_per_byte": 0.25, "caveat": "some | text is lost"},
        {"model": "some/other", "bits_per_byte": 2},
    ]
    bits = tmp_path / "bits.json"
    bits.write_text(json.dumps(entries))
    text = render_card(folder, bits=bits)
    assert "| `base` | 1.2500 | 0.5000 |" in text and "| `model` (this one) | 1.5000 | 0.2500 |" in text
    assert "| `some/other` | 2.0000 | ? |" in text and "`model` (this one): some / text is lost." in text
    assert [result.metric_value for result in ModelCard(text).data.eval_results] == [1.5]
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not what"),
        ("3", "not what"),
        ("[3]", "not what"),
        ('[{"model": "x"}]', "not what"),
        ('[{"model": "x", "bits_per_byte": NaN}]', "not finite"),
        ('[{"model": "x", "bits_per_byte": 1}]', "no figure for"),
    ],
)
def test_other_files_of_bits_are_refused(folder, tmp_path, content, message):
    (tmp_path / "bits.json").write_text(content)
    with pytest.raises(TextError, match=message):
        write_card(folder, bits=tmp_path / "bits.json")
    with pytest.raises(TextError, match="not what"):
        write_card(folder, bits=tmp_path / "absent.json")
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    ("base", "other", "metadata", "said"),
    [
        (HUB, OWN, {"license": "apache-2.0"}, "keeps the licence"),
        (HUB, HUB | {"kind": "base"}, {"license": "apache-2.0"}, "keeps the licence"),
        (HUB, donor("apache-2.0"), {"license": "apache-2.0"}, "keeps the licence"),
        (HUB, donor("gemma"), {}, "The two differ"),
        (HUB, donor(None), {}, "Not every licence is known"),
        (HUB | {"license": {}}, OWN, {}, "Not every licence is known"),
        (HUB | {"license": {}}, donor("mit"), {}, "Not every licence is known"),
        (HUB | {"license": {"license": "mit, gemma"}}, OWN, {}, "several licences"),
        ({}, {}, {}, "Not every licence is known"),
        (
            HUB | {"license": {"license": "other", "license_name": "own", "license_link": "./LICENSE"}},
            donor("other", license_name="own"),
            {
                "license": "other",
                "license_name": "own",
                "license_link": "https://huggingface.co/some/base/blob/main/LICENSE",
            },
            "keeps the licence",
        ),
        (
            {"name": "x", "kind": "folder", "license": {"license": "other", "license_link": "LICENSE"}},
            OWN,
            {"license": "other"},
            "keeps the licence",
        ),
        (HUB | {"license": {"license": "other"}}, donor("other"), {}, "The two differ"),
        (
            HUB | {"license": {"license": "other", "license_name": "a"}},
            donor("other", license_name="b"),
            {},
            "The two differ",
        ),
    ],
)
def test_licences_are_carried_over_and_never_widened(base, other, metadata, said):
    found = licence_of(base, other)
    assert found.metadata == metadata
    assert said in found.lines[-1]


def test_both_licences_are_named_where_they_differ(folder):
    report(folder, base=HUB, donor=donor("gemma"))
    card = ModelCard(render_card(folder))
    assert card.data.license is None
    assert "* Weights: `some/base`, apache-2.0.\n* Tokenizer: `some/donor`, gemma.\n" in card.text


def test_a_written_card_is_kept_and_a_generated_one_renewed(folder, contents):
    path = write_card(folder)
    assert is_generated(path.read_text()) and path == folder / "README.md"
    before = path.read_text()
    report(folder, base=HUB)
    write_card(folder, repo_id="me/mine")
    assert path.read_text() != before and "some/base" in path.read_text()
    path.write_text(path.read_text() + "My own words.\n")
    state = contents(folder)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        write_card(folder)
    path.write_text("---\nlicense: mit\n---\n# The base's own card\n")
    with pytest.raises(OutputExistsError):
        write_card(folder)
    path.write_bytes(b"\xff not UTF-8")
    with pytest.raises(OutputExistsError):
        write_card(folder)
    assert {name: data for name, data in contents(folder).items() if name != "README.md"} == {
        name: data for name, data in state.items() if name != "README.md"
    }
    write_card(folder, overwrite=True)
    assert is_generated(path.read_text())


def test_a_link_is_not_written_through(folder, tmp_path):
    (tmp_path / "other.md").write_text("another's")
    (folder / "README.md").symlink_to(tmp_path / "other.md")
    with pytest.raises(OutputExistsError):
        write_card(folder)
    write_card(folder, overwrite=True)
    assert (tmp_path / "other.md").read_text() == "another's" and not (folder / "README.md").is_symlink()


def test_equal_input_gives_an_equal_card_with_any_line_ends(folder):
    text = render_card(folder)
    assert text == render_card(folder) and is_generated(text) and is_generated(text.replace("\n", "\r\n"))
    assert not is_generated(text.replace("Limits", "Boasts")) and not is_generated("")


def test_a_push_takes_the_folders_card_unless_it_is_an_outdated_one_of_ours(folder):
    assert card_for_push(folder, "me/x") == render_card(folder, repo_id="me/x")
    written = write_card(folder).read_text()
    assert card_for_push(folder, "me/x") == written
    report(folder, heal=[healed(3.0, 2.0)])  # as after healing: the copied card knows nothing of it
    assert card_for_push(folder, "me/x") == render_card(folder, repo_id="me/x") != written
    (folder / "README.md").write_text(written + "My own words.\n")
    assert card_for_push(folder, "me/x") == written + "My own words.\n"
    (folder / "README.md").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="UTF-8"):
        card_for_push(folder, "me/x")


def test_values_cannot_break_out_of_their_place(folder):
    nasty = "x` |\n# Owned\n{{ 7 * 7 }}"
    report(folder, base=HUB | {"name": nasty}, method=nasty, warnings=[nasty], counts={nasty: 3})
    text = render_card(folder, repo_id='me/"; import os #')
    assert "\n# Owned" not in text and "{{ 7 * 7 }}" in text and 'name = "me/\'; import os #"' in text
    assert is_generated(text) and ModelCard(text).data.base_model == nasty


@pytest.mark.parametrize("content", ["{", "[]", "3", "\udcff"])
def test_a_damaged_report_is_refused(folder, content):
    (folder / REPORT).write_text(content, errors="surrogateescape")
    with pytest.raises(CheckpointError, match="damaged"):
        write_card(folder)
    assert not (folder / "README.md").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"hf_tokext": "0.0.1"},
        {"base": "x", "donor": 3, "counts": [], "heal": {}, "warnings": "w", "text": {"bytes": 0}},
        {"base": {}, "heal": [3, {"curve": [3, {"bits_per_byte": "x"}]}], "counts": {"anchor": None}},
    ],
)
def test_a_report_of_another_hand_is_read_as_far_as_it_goes(folder, content):
    (folder / REPORT).write_text(json.dumps(content))
    card = ModelCard(render_card(folder))
    assert card.data.license is None and "not recorded" in card.text and card.data.eval_results is None


def test_without_a_report_the_card_says_what_the_files_say(folder, tmp_path):
    (folder / REPORT).unlink()
    card = ModelCard(render_card(folder))
    assert card.data.tags == ["hf_tokext"] and card.data.license is None and card.data.base_model is None
    assert "`LlamaForCausalLM`" in card.text and "claims none" in card.text and "What was done" not in card.text
    with pytest.raises(CheckpointError, match="no checkpoint"):
        write_card(tmp_path)


def test_a_tokenizer_alone_and_classes_of_our_own(tmp_path, monkeypatch):
    from hf_tokext import ByteTokenizer

    ByteTokenizer().save_pretrained(tmp_path / "bytes")
    text = render_card(tmp_path / "bytes")
    assert "import AutoTokenizer\n" in text and "AutoModel" not in text and "stock transformers" in text
    (tmp_path / "bytes" / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "hf_tokext_auto.X"}}))
    (tmp_path / "bytes" / "hf_tokext_auto.py").write_text("from hf_tokext import X\nfrom their_own.part import Y\n")
    (tmp_path / "their_own.py").write_text("")  # installed, so to say
    monkeypatch.syspath_prepend(tmp_path)
    text = render_card(tmp_path / "bytes")
    assert (
        "`pip install hf-tokext their_own`" in text and "\nimport hf_tokext " in text and "\nimport their_own " in text
    )
    (tmp_path / "theirs-1.dist-info").mkdir()  # installed by pip, under another name
    (tmp_path / "theirs-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: Theirs\nVersion: 1\n")
    (tmp_path / "theirs-1.dist-info" / "top_level.txt").write_text("their_own\n")
    text = render_card(tmp_path / "bytes")
    assert "`pip install hf-tokext Theirs`" in text and "\nimport their_own " in text
    (tmp_path / "bytes" / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "modeling_x.X"}}))
    assert "hf-tokext" not in render_card(tmp_path / "bytes").split("How to load")[1].split("card by")[0]


def test_the_command(folder, tmp_path, capsys):
    for arguments, code in ([["card", str(folder), "--repo", "me/mine"], 0], [["card", str(tmp_path)], 1]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == code
    said = capsys.readouterr()
    assert str(folder / "README.md") in said.out and said.err.count("\n") == 1 and "no checkpoint" in said.err
    (folder / "README.md").write_text("mine")
    with pytest.raises(SystemExit):
        main(["card", str(folder)])
    assert "--overwrite" in capsys.readouterr().err and (folder / "README.md").read_text() == "mine"


def test_the_code_of_the_card_runs_with_transformers_alone(folder, tmp_path):
    code = render_card(folder).split("```python\n")[1].split("```")[0].replace('"model"', repr(str(folder)))
    blocked = "import sys; sys.modules['hf_tokext'] = None\n"
    done = run_program(blocked + code, HF_HUB_OFFLINE="1")
    assert done.returncode == 0 and done.stdout.startswith("Once upon a time"), done.stderr
