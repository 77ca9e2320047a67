"""What scripts/snippets.py takes for a block, runs, leaves out, and reports; README's own blocks in a long test."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
PAGES = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("snippets")


@pytest.fixture
def run(module, monkeypatch, capsys, tmp_path):
    """Runs the script on a page with this text; gives its exit status and what it printed."""
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(module, "sample", lambda name: tmp_path / "samples")

    def start(text, *arguments):
        (tmp_path / "page.md").write_text(text)
        monkeypatch.setattr(sys, "argv", ["snippets.py", "--page", str(tmp_path / "page.md"), *arguments])
        code = module.main()
        return code, capsys.readouterr().out

    return start


def block(language, text, fence="```"):
    return f"{fence}{language}\n{text}\n{fence}\n"


def test_blocks_are_found_with_their_lines_and_without_their_indent(module):
    page = (
        "A page.\n\n" + block("bash", "echo 1 \\\n  2") + block("json", "{}") + block("", "nothing")
        + "1. A step:\n\n    ```python title=\"x\"\n    if True:\n        print(3)\n    ```\n"
        + block("python", "text = '''\n```\n'''", fence="````")
    )  # fmt: skip
    found = [(each.language, each.text, each.line, each.skipped) for each in module.snippets(page, "page")]
    assert found == [
        ("bash", "echo 1 \\\n  2\n", 3, ""),
        ("python", "if True:\n    print(3)\n", 15, ""),
        ("python", "text = '''\n```\n'''\n", 19, ""),
    ]


def test_a_remark_leaves_out_the_next_block_alone(module):
    page = "<!-- snippet: skip, it needs a GPU, and time -->\n\n" + block("bash", "a") + block("bash", "b")
    assert [each.skipped for each in module.snippets(page, "page")] == ["it needs a GPU, and time", ""]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<!-- snippet: skip -->\n" + block("bash", "a"), "page:1: write"),
        ("<!-- snippet: leave out, I want so -->\n" + block("bash", "a"), "page:1: write"),
        ("<!-- snippet: skip, why -->\nText.\n" + block("bash", "a"), "page:2: no block follows"),
        ("<!-- snippet: skip, why -->\n" + block("json", "{}"), "page:2: label"),
        ("<!-- snippet: skip, why -->\n", "missing"),
        ("```bash\necho 1\n", "not closed"),
        (block("sh", "echo 1"), "page:1: label"),
        (block("py", "1"), "page:1: label"),
    ],
)
def test_what_would_be_passed_over_in_silence_is_an_error(module, page, said):
    with pytest.raises(SystemExit, match=said):
        list(module.snippets(page, "page"))


def test_what_is_replaced_and_left_out(module):
    text = "pip install hf-tokext\ntokext heal BASE DONORS $BASE --steps 50 --text x"
    program, reason = module.prepared(module.Snippet("bash", text, 1), small=False)
    assert program == "tokext heal HuggingFaceTB/SmolLM2-135M DONORS $BASE --steps 50 --text x"
    assert reason == module.ELSEWHERE["pip install"]
    assert "--steps 3 " in module.prepared(module.Snippet("bash", text, 1), small=True)[0]
    only = module.Snippet("bash", "# how\nbash scripts/test.sh\n\npip install x", 1)
    assert module.prepared(only, small=False)[0] == ""
    python = module.Snippet("python", "BASE = 'pip install'", 1)
    assert module.prepared(python, small=False) == ("BASE = 'pip install'", "")
    assert module.prepared(module.Snippet("python", "1", 1, "why"), small=False) == ("", "why")


def test_blocks_of_a_page_share_its_folder_and_the_files_that_it_takes_for_granted(run):
    code, said = run(
        block("bash", "ls corpus/*.txt | wc -l > count\ncat corpus.txt held-out.txt unifont.hex > /dev/null\npwd > place")
        + block("python", "assert open('count').read().strip() == '3'\n"
                "import os\nassert open('place').read().strip() == os.getcwd()\n"
                "assert open('held-out.txt').read()[:2000] not in open('corpus.txt').read()"),
        "--small",
    )  # fmt: skip
    assert code == 0 and "2 of 2 blocks ok, 0 skipped" in said
    assert f"the package: {ROOT / 'hf_tokext'}\n" in said


def test_the_programs_are_those_of_the_package_and_the_hub_is_ours(run, module, monkeypatch, tmp_path):
    monkeypatch.setitem(module.SERVED, "them/tokenizer", module.Served("gpt2-tokenizer", {"vocab_size": 7}))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "the users own"))
    fetch = (
        "from huggingface_hub import hf_hub_download as get\nprint(open(get('them/tokenizer', 'config.json')).read())"
    )
    here = f"import sys\nassert sys.prefix == {sys.prefix!r}"
    code, said = run(
        block("python", fetch) + block("bash", f"which tokext python | grep -c {sys.prefix}") + block("python", here)
    )
    assert code == 0, said
    assert "the Hub's them/tokenizer: GPT-2's tokenizer and 7 rows by its config" in said
    assert not (tmp_path / "the users own").exists()
    code, said = run(block("python", "from huggingface_hub import hf_hub_download as get\nget('them/nothing', 'x')"))
    assert code == 1 and "RepositoryNotFoundError" in said


def test_a_block_that_fails_is_reported_and_the_others_run(run, tmp_path):
    code, said = run(
        block("bash", "false\necho not reached") + block("bash", "no-such-program | cat")
        + block("python", "print('so far')\nraise ValueError('the reason')") + block("bash", "true")
        + "<!-- snippet: skip, it takes a GPU -->\n" + block("bash", "false")
    )  # fmt: skip
    assert code == 1 and "1 of 4 blocks ok, 1 skipped" in said and "not reached" not in said
    assert "    so far\n" in said and "ValueError: the reason" in said and "skipped: it takes a GPU" in said
    assert [line for line in said.splitlines() if line.startswith("failed: ")] == [
        f"failed: {tmp_path / 'page.md'}:{line}" for line in (1, 5, 8)
    ]


def test_listing_runs_nothing(run, tmp_path):
    code, said = run(block("bash", f"touch {tmp_path}/ran") + block("bash", "bash scripts/test.sh"), "--list")
    assert code == 0 and not (tmp_path / "ran").exists()
    assert [line.split(maxsplit=1)[1] for line in said.splitlines()] == [
        "runs",
        "skipped: release.sh and CI run it themselves",
    ]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_understood(module, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    found = list(module.snippets(text, name))
    assert len(found) == text.count("```bash") + text.count("```python")
    assert name != "README.md" or not any(each.skipped for each in found)


def test_the_tables_are_of_use(module):
    """An entry that no page needs any more is removed; without it `--small` would take an hour."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES}
    found = [(name, each) for name in PAGES for each in module.snippets(texts[name], name)]
    assert [long for long in module.SMALL if not any(long in each.text for _, each in found)] == []
    assert set(module.BEFORE) <= {name for name, _ in found}


@pytest.mark.long
def test_readme(tmp_path):
    command = [sys.executable, str(SCRIPTS / "snippets.py"), "--small", "--page", "README.md"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 blocks ok, 1 skipped" in done.stdout


def test_a_tiny_model_has_the_others_tokenizer(module, tmp_path):
    from transformers import AutoModelForCausalLM

    from tests.tiny_models import tiny_folder
    from tests.tokenizers import byte_level

    tiny_folder("llama", tmp_path / "large", vocab_size=300, hidden=64)
    byte_level(300).save_pretrained(tmp_path / "large")
    made = module.tiny_model(tmp_path / "large", tmp_path / "tiny")
    model = AutoModelForCausalLM.from_pretrained(made)
    assert model.config.hidden_size == 16 and len(model.get_input_embeddings().weight) == 300
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert json.loads((made / name).read_text()) == json.loads((tmp_path / "large" / name).read_text())
