"""Pushing to a hub that works: one commit, the whole checkpoint and nothing else; no commit without a change."""

import json
import os

import pytest
from huggingface_hub import ModelCard, snapshot_download
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import (
    ByteTokenizer,
    HubError,
    RepositoryClashError,
    push_checkpoint,
    write_card,
)
from hf_tokext.hub.cards import is_generated
from tests.hub_state import START

NAME = "me/model"


def commits(hub, name=NAME, branch="main"):
    return [oid for oid in hub.repo(name).branches[branch] if oid != START]


def test_the_whole_checkpoint_in_one_commit(hub, folder, contents):
    before = contents(folder)
    pushed = push_checkpoint(folder, NAME)
    assert contents(folder) == before
    remote = hub.repo(NAME).files()
    card = remote.pop("README.md").decode()
    assert remote == before and "model.safetensors" in remote and "LICENSE" in remote
    assert is_generated(card) and ModelCard(card).data.license == "mit" and f'name = "{NAME}"' in card
    assert commits(hub) == [pushed.commit] and pushed.changed and pushed.deleted == [] and pushed.left_out == []
    assert (pushed.repo_id, pushed.url) == (NAME, f"{hub.url}/{NAME}")
    assert pushed.files == sorted([*before, "README.md"])


def test_a_second_push_makes_no_commit_and_a_changed_file_makes_one(hub, folder):
    first = push_checkpoint(folder, NAME)
    uploads = [path for method, path in hub.requests if method == "PUT"]
    second = push_checkpoint(folder, NAME)
    assert (second.commit, second.changed) == (first.commit, False) and commits(hub) == [first.commit]
    (folder / "generation_config.json").write_text('{"eos_token_id": 2}')
    third = push_checkpoint(folder, NAME)
    assert third.changed and commits(hub) == [first.commit, third.commit]
    assert hub.repo(NAME).files()["generation_config.json"] == b'{"eos_token_id": 2}'
    assert [path for method, path in hub.requests if method == "PUT"] == uploads  # weights went over once


def test_the_folders_own_card_is_pushed_as_it_is(hub, folder):
    write_card(folder)
    (folder / "README.md").write_bytes((folder / "README.md").read_bytes() + b"My own words.\n")
    push_checkpoint(folder, NAME)
    assert hub.repo(NAME).files()["README.md"] == (folder / "README.md").read_bytes()
    (folder / "README.md").write_text("---\nlicense: mit\n---\nAltogether my own.\n")
    push_checkpoint(folder, NAME)  # the author goes on writing it here
    assert hub.repo(NAME).files()["README.md"].endswith(b"Altogether my own.\n")


@pytest.mark.parametrize("private", [True, False, None])
def test_private_by_choice(hub, folder, private):
    push_checkpoint(folder, NAME, private=private)
    assert hub.repo(NAME).private == bool(private)
    push_checkpoint(folder, NAME, private=private)
    assert len(commits(hub)) == 1


def test_a_private_push_never_goes_to_a_public_repository(hub, folder):
    push_checkpoint(folder, NAME)
    (folder / "generation_config.json").write_text("{}")
    with pytest.raises(RepositoryClashError, match="public"):
        push_checkpoint(folder, NAME, private=True)
    assert len(commits(hub)) == 1


def test_a_revision_is_a_branch_of_its_own(hub, folder):
    main = push_checkpoint(folder, NAME)
    (folder / "generation_config.json").write_text("{}")
    other = push_checkpoint(folder, NAME, revision="v2/draft")
    assert commits(hub) == [main.commit] and commits(hub, branch="v2/draft")[-1] == other.commit
    assert hub.repo(NAME).files("v2/draft")["generation_config.json"] == b"{}"
    assert hub.repo(NAME).files()["generation_config.json"] != b"{}"
    assert not push_checkpoint(folder, NAME, revision="v2/draft").changed
    with pytest.raises(HubError, match="name a branch"):
        push_checkpoint(folder, NAME, revision=main.commit)


def test_a_name_without_namespace_is_the_users_own(hub, folder):
    pushed = push_checkpoint(folder, "model")
    assert pushed.repo_id == NAME and commits(hub) == [pushed.commit]
    assert push_checkpoint(folder, "model").changed is False


@pytest.mark.parametrize("name", ["a/b/c", "me/--", "me/a..b", ""])
def test_what_is_no_name_is_refused(hub, folder, name):
    with pytest.raises(HubError):
        push_checkpoint(folder, name)
    assert hub.repos == {}


def test_files_of_an_earlier_checkpoint_do_not_mix_with_the_new(hub, folder):
    push_checkpoint(folder, NAME)
    assert "model.safetensors" in hub.repo(NAME).files()
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    pushed = push_checkpoint(folder, NAME)
    remote = hub.repo(NAME).files()
    assert pushed.deleted == ["model.safetensors"] and "model.safetensors" not in remote
    assert "model.safetensors.index.json" in remote and len(commits(hub)) == 2


def test_what_others_put_beside_it_stays(hub, folder):
    push_checkpoint(folder, NAME)
    there = hub.repo(NAME).files()
    others = dict.fromkeys(
        ("notes.txt", "images/logo.png", "eval.json", "onnx/config.json", "lora/x.safetensors"), b"mine"
    )
    hub.add(NAME, there | others | {"pytorch_model.bin": b"pickle", "vocab.json": b"{}"})
    pushed = push_checkpoint(folder, NAME)
    assert pushed.deleted == ["pytorch_model.bin", "vocab.json"]
    assert hub.repo(NAME).files() == there | others


def test_somebody_elses_model_is_not_replaced_unasked(hub, folder):
    repo = hub.add(NAME, {"config.json": b"{}", "model.safetensors": b"precious", "README.md": b"precious"})
    with pytest.raises(RepositoryClashError, match="not pushed by hf_tokext"):
        push_checkpoint(folder, NAME)
    assert repo.files()["model.safetensors"] == b"precious" and len(commits(hub)) == 1
    push_checkpoint(folder, NAME, overwrite=True)
    assert repo.files()["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert repo.files(commits(hub)[0])["model.safetensors"] == b"precious"  # its history stays


def test_a_card_written_on_the_hub_is_not_replaced_unasked(hub, folder):
    push_checkpoint(folder, NAME)
    repo = hub.repo(NAME)
    hub.add(NAME, repo.files() | {"README.md": repo.files()["README.md"] + b"Words of mine.\n"})
    with pytest.raises(RepositoryClashError, match="card of me/model"):
        push_checkpoint(folder, NAME)
    assert repo.files()["README.md"].endswith(b"Words of mine.\n") and len(commits(hub)) == 2
    (folder / "README.md").write_bytes(repo.files()["README.md"])  # as the message says
    assert not push_checkpoint(folder, NAME).changed
    (folder / "README.md").unlink()
    push_checkpoint(folder, NAME, overwrite=True)
    assert is_generated(repo.files()["README.md"].decode())


def test_a_repository_made_on_the_website_is_filled(hub, folder):
    hub.add(NAME, {".gitattributes": b"*.bin filter=lfs"})
    push_checkpoint(folder, NAME)
    assert ".gitattributes" in hub.repo(NAME).files() and "model.safetensors" in hub.repo(NAME).files()


def test_what_is_pulled_is_what_was_pushed(hub, folder, tmp_path):
    pushed = push_checkpoint(folder, NAME, private=True)
    there = snapshot_download(NAME, revision=pushed.commit, cache_dir=tmp_path / "cache")
    old, new = (load_file(os.path.join(path, "model.safetensors")) for path in (folder, there))
    assert old.keys() == new.keys() and all(old[name].equal(new[name]) for name in old)
    text = "the cat sat"
    assert AutoTokenizer.from_pretrained(there)(text).input_ids == AutoTokenizer.from_pretrained(folder)(text).input_ids
    # a snapshot in the cache is made of links to its own blobs: it can be pushed on
    push_checkpoint(there, "me/again")
    assert hub.repo("me/again").files() == hub.repo(NAME).files()


@pytest.mark.parametrize("model_type", [None, "mistral"])
def test_a_tokenizer_alone(hub, tmp_path, model_type):
    (tmp_path / "bytes").mkdir()
    if model_type:  # transformers would take another class beside such a config: a file of code says which it is
        (tmp_path / "bytes" / "config.json").write_text(json.dumps({"model_type": model_type}))
    ByteTokenizer().save_pretrained(tmp_path / "bytes")
    pushed = push_checkpoint(tmp_path / "bytes", "me/bytes")
    assert {"README.md", "tokenizer.json", "tokenizer_config.json"} <= set(hub.repo("me/bytes").files())
    assert ("hf_tokext_auto.py" in pushed.files) == bool(model_type) and pushed.left_out == []
    again = AutoTokenizer.from_pretrained("me/bytes", cache_dir=tmp_path / "cache")
    assert type(again) is ByteTokenizer and again.decode(again("déjà").input_ids, skip_special_tokens=True) == "déjà"
