import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.cli import main
from hf_tokext.extend import domains as registry
from hf_tokext.extend import domains_of
from tests.tiny_models import tiny_folder
from tests.tokenizers import byte_level
from tests.vocabulary.brackets import Brackets


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_DOMAINS", registry._DOMAINS | {"brackets": Brackets})
    tokenizer = byte_level(300)
    tiny_folder("llama", tmp_path / "base", vocab_size=len(tokenizer))
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path


def run(*arguments):
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    return done.value.code or 0


def test_a_domain_is_put_on_a_checkpoint(here, capsys):
    assert run("extend", "base", "out", "--domain", "brackets:letters=xyz", "--no-calibrate") == 0
    said = capsys.readouterr().out
    assert "brackets: 9 tokens from <|brackets:open|> to <|brackets:z|>" in said and "written to out" in said
    tokenizer = AutoTokenizer.from_pretrained("out")
    domain = domains_of(tokenizer)["brackets"]
    assert domain.settings == {"letters": "xyz"}
    assert len(tokenizer(domain.spell("(x)[y]")).input_ids) == 8
    assert AutoModelForCausalLM.from_pretrained("out").get_input_embeddings().weight.shape[0] == len(tokenizer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extend", "base", "out", "--domain", "tables"], "no domain 'tables'; the domains are brackets, "),
        (["extend", "base", "out", "--domain", "brackets:xyz"], "not of the form"),
        (["extend", "base", "out", "--domain", "brackets:size=3"], "cannot be made with"),
        (["extend", "base", "out", "--domain", "brackets", "--method", "best"], "unknown row method 'best'"),
        (["extend", "nowhere", "out", "--domain", "brackets"], "nowhere"),
        (["extend", "base", "base", "--domain", "brackets"], "base"),
        (["extend", "base", "out"], "--domain"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(here, capsys, arguments, message):
    before = sorted(here.rglob("*"))
    assert run(*arguments) != 0
    assert message in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before
