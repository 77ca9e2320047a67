"""Pushing to a hub that works: one commit, the whole checkpoint and nothing else; no commit without a change."""

import json
import os
import shutil

import pytest
from huggingface_hub import ModelCard, snapshot_download
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext import (
    ByteTokenizer,
    CheckpointError,
    HubError,
    RepositoryClashError,
    UnsafeCheckpointError,
    VocabularyError,
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


def test_pickles_training_folders_and_code_stay_here(hub, folder, contents):
    wanted = set(contents(folder))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "evil.py", "notes.txt", ".env", "x.pkl"):
        (folder / name).write_text("x")
    (folder / "credentials.json").write_text("{}")
    for name in ("checkpoint-5", "runs", "model-training", ".git", "sub"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    (folder / "sub" / "trainer_state.json").write_text("{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ messages }}")
    pushed = push_checkpoint(folder, NAME)
    assert set(hub.repo(NAME).files()) == wanted | {"README.md", "additional_chat_templates/rag.jinja"}
    assert pushed.left_out == sorted(
        [
            ".env",
            ".git/",
            "checkpoint-5/",
            "credentials.json",
            "evil.py",
            "model-training/",
            "notes.txt",
            "optimizer.pt",
        ]
        + ["pytorch_model.bin", "runs/", "sub/", "training_args.bin", "x.pkl"]
    )


@pytest.mark.parametrize("name", ["LICENSE", "tokenizer.json", "hf_tokext_report.md", "extra_config.json", "README.md"])
def test_links_out_of_the_folder_are_refused(hub, folder, tmp_path, name):
    (tmp_path / "secret").write_text("{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeCheckpointError, match=name):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


def test_a_link_in_a_circle_is_named(hub, folder):
    (folder / "more_config.json").symlink_to("more_config.json")
    with pytest.raises(CheckpointError, match=r"more_config\.json"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


@pytest.mark.parametrize(
    "code", ["import os\nos.system('x')\n", "class A(print('x')):\n    pass\n", "from . import x\n", "def (\n"]
)
def test_the_file_of_code_holds_only_what_is_written_there(hub, folder, code):
    (folder / "hf_tokext_auto.py").write_text(f'"""Ours."""\n\nfrom hf_tokext import ByteTokenizer\n{code}')
    with pytest.raises(UnsafeCheckpointError, match="save the checkpoint again"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


def test_a_processor_alone(hub, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    assert push_checkpoint(tmp_path / "p", NAME).files == ["README.md", "preprocessor_config.json"]


def test_other_links_are_left_out_or_followed_inside(hub, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text("{}")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    (folder / "notes").symlink_to(tmp_path / "elsewhere" / "config.json")
    (folder / "NOTICE").symlink_to(folder / "LICENSE")
    pushed = push_checkpoint(folder, NAME)
    assert pushed.left_out == ["data/", "notes"] and hub.repo(NAME).files()["NOTICE"] == b"MIT, in full"


def _cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def _missing_shard(folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "model-00001.safetensors"}}))


def _no_map(folder):
    (folder / "model.safetensors.index.json").write_text("{}")


def _trainer(folder):
    (folder / "trainer_state.json").write_text("{}")


def _adapter_of_a_folder(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))


def _foreign(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_x.M"}}))
    (folder / "modeling_x.py").write_text("")


def _too_deep(folder):
    (folder / "tokenizer.json").write_text("[" * 200_000 + "]" * 200_000)


def _nothing(folder):
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "model.safetensors"),
        (_missing_shard, "not there"),
        (_no_map, "weight_map"),
        (_trainer, "trainer's own"),
        (_adapter_of_a_folder, "nobody else has"),
        (_foreign, "names modeling_x.M, code of its own"),
        (_too_deep, "levels"),
        (_nothing, "no checkpoint"),
        (shutil.rmtree, "no folder"),
    ],
)
def test_what_is_not_finished_is_not_pushed(hub, folder, damage, message):
    damage(folder)
    with pytest.raises((CheckpointError, VocabularyError), match=message):
        push_checkpoint(folder, NAME)
    assert hub.requests == [] and hub.repos == {}


def test_what_a_killed_run_left_is_not_pushed(hub, folder):
    left = folder.rename(folder.with_name(".out.tokext-new-0123abcd"))
    with pytest.raises(CheckpointError, match="unfinished"):
        push_checkpoint(left, NAME)
    assert hub.requests == []


def test_pickled_weights_alone_are_refused(hub, folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeCheckpointError, match=r"pytorch_model\.bin"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


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
