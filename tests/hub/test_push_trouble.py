"""Pushing to and pulling from a hub that misbehaves: a clear error, or a later success; nothing lost or half-written."""

import huggingface_hub
import pytest
from huggingface_hub import snapshot_download

from hf_tokext import (
    CheckpointError,
    HubError,
    HubReadOnlyError,
    HubTokenError,
    HubUnavailableError,
    RepositoryClashError,
    push_checkpoint,
    transplant_checkpoint,
)
from hf_tokext.transplant.checkpoint_source import local_folder
from tests.hub_state import START, File
from tests.tokenizers import byte_level

NAME = "me/model"
HTML = b"<html>Bad gateway</html>"
# every request of a push that can fail, by method and path
STEPS = {
    "create": ("POST", "/api/repos/create"),
    "info": ("GET", "/api/models/me/model"),
    "card": ("POST", "/api/validate-yaml"),
    "preupload": ("POST", "/preupload/"),
    "batch": ("POST", "/info/lfs/objects/batch"),
    "upload": ("PUT", "/lfs/"),
    "commit": ("POST", "/commit/"),
}

pytestmark = pytest.mark.usefixtures("slept")


def commits(hub, branch="main"):
    return [oid for oid in hub.repo(NAME).branches[branch] if oid != START]


def whole(hub, folder, contents):
    """Whether the branch holds exactly what the folder holds, and a card."""
    remote = hub.repo(NAME).files()
    return "README.md" in remote and {k: v for k, v in remote.items() if k != "README.md"} == contents(folder)


@pytest.mark.parametrize("body", [b'{"error": "down"}', HTML], ids=["json", "html"])
@pytest.mark.parametrize("step", STEPS)
def test_5xx_for_a_while_is_waited_out(hub, folder, contents, step, body):
    before = contents(folder)
    fault = hub.misbehave(*STEPS[step], status=503, times=2, body=body)
    pushed = push_checkpoint(folder, NAME)
    assert fault.times == 0 and pushed.changed
    assert commits(hub) == [pushed.commit] and whole(hub, folder, contents) and contents(folder) == before


@pytest.mark.parametrize("step", STEPS)
def test_5xx_for_ever_is_an_error_and_nothing_is_committed(hub, folder, contents, slept, step):
    before = contents(folder)
    hub.misbehave(*STEPS[step], status=502, body=HTML)
    with pytest.raises(HubUnavailableError, match="try again") as raised:
        push_checkpoint(folder, NAME, retries=1)
    assert "\n" not in str(raised.value) and 1.0 in slept
    assert contents(folder) == before and (hub.repos == {} or commits(hub) == [])
    hub.faults.clear()
    assert push_checkpoint(folder, NAME).changed and whole(hub, folder, contents) and len(commits(hub)) == 1


@pytest.mark.parametrize("drop", ["request", "response", "answer"])
@pytest.mark.parametrize("step", STEPS)
def test_a_connection_that_breaks_once(hub, folder, contents, step, drop):
    before = contents(folder)
    fault = hub.misbehave(*STEPS[step], drop=drop, times=1)
    push_checkpoint(folder, NAME)
    # a commit whose answer was lost is found to be there: no second one is made
    assert fault.times == 0 and len(commits(hub)) == 1 and whole(hub, folder, contents) and contents(folder) == before


@pytest.mark.parametrize("step", STEPS)
def test_a_connection_that_always_breaks_leaves_the_old_there(hub, folder, contents, step):
    push_checkpoint(folder, NAME)
    old = hub.repo(NAME).files()
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-4] + b"\0\0\0\0")
    before = contents(folder)
    hub.misbehave(*STEPS[step], drop="request")
    with pytest.raises(HubUnavailableError, match="hung up"):
        push_checkpoint(folder, NAME, retries=1)
    assert hub.repo(NAME).files() == old and len(commits(hub)) == 1 and contents(folder) == before
    hub.faults.clear()
    push_checkpoint(folder, NAME)
    assert whole(hub, folder, contents) and len(commits(hub)) == 2


def test_nobody_there(hub, folder, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # the port that discards
    with pytest.raises(HubUnavailableError, match="could not be reached"):
        push_checkpoint(folder, NAME, retries=1)
    assert hub.requests == []


def test_offline_says_so_at_once(hub, folder, slept, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnavailableError, match="HF_HUB_OFFLINE"):
        push_checkpoint(folder, NAME)
    assert slept == [] and hub.requests == []


@pytest.mark.parametrize("token", ["hf_wrong", ""])
def test_a_wrong_or_missing_token(hub, folder, slept, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubTokenError, match="HF_TOKEN") as raised:
        push_checkpoint(folder, NAME)
    assert hub.repos == {} and slept == [] and "hf_wrong" not in str(raised.value)
    push_checkpoint(folder, NAME, token="hf_write")
    with pytest.raises(HubTokenError):
        push_checkpoint(folder, NAME)  # the repository being there does not matter


def test_a_token_that_may_only_read(hub, folder):
    with pytest.raises(HubReadOnlyError, match="write access"):
        push_checkpoint(folder, NAME, token="hf_read")
    assert hub.repos == {}
    push_checkpoint(folder, NAME)
    old = hub.repo(NAME).files()
    (folder / "generation_config.json").write_text("{}")
    with pytest.raises(HubReadOnlyError):
        push_checkpoint(folder, NAME, token="hf_read")
    with pytest.raises(HubReadOnlyError):
        push_checkpoint(folder, NAME, token="hf_read", revision="branch")
    assert hub.repo(NAME).files() == old and len(commits(hub)) == 1 and list(hub.repo(NAME).branches) == ["main"]


def test_a_namespace_of_somebody_else(hub, folder):
    with pytest.raises(HubReadOnlyError, match="namespace"):
        push_checkpoint(folder, "you/model")
    assert hub.repos == {}


@pytest.mark.parametrize("step", ["preupload", "upload", "commit"])
def test_a_repository_that_turns_read_only(hub, folder, contents, step):
    before = contents(folder)
    hub.misbehave(*STEPS[step], status=403)
    with pytest.raises(HubReadOnlyError):
        push_checkpoint(folder, NAME)
    assert commits(hub) == [] and contents(folder) == before


def test_a_name_that_is_taken_by_what_cannot_be_seen(hub, folder):
    hub.misbehave("POST", "/commit/", status=409, body=b'{"error": "name taken"}')
    with pytest.raises(RepositoryClashError, match="name taken"):
        push_checkpoint(folder, NAME)
    assert commits(hub) == []


def test_a_repository_that_cannot_be_found_after_all(hub, folder):
    """409 for its creation, 404 for all else: it is somebody's private one."""
    hub.misbehave("POST", "/api/repos/create", status=409, body=b'{"error": "exists", "url": "http://x/me/model"}')
    with pytest.raises(HubError, match="me/model"):
        push_checkpoint(folder, NAME)
    assert hub.repos == {}


def test_somebody_commits_in_between(hub, folder):
    push_checkpoint(folder, NAME)
    (folder / "generation_config.json").write_text('{"a": 1}')
    repo, seen = hub.repo(NAME), len(hub.requests)
    original, moved = repo.resolve, []

    def resolve(revision):
        """The head moves right after it was looked at for the first time."""
        found = original(revision)
        if not moved and hub.requests[-1] == STEPS["info"]:
            moved.append(hub.commit(repo, "main", repo.commits[found] | {"notes.txt": File(b"theirs", False)}))
        return found

    repo.resolve = resolve
    push_checkpoint(folder, NAME)
    assert moved and repo.files()["notes.txt"] == b"theirs" and repo.files()["generation_config.json"] == b'{"a": 1}'
    # ours was refused, since the head was not what had been looked at, and made anew
    assert [path for method, path in hub.requests[seen:] if "/commit/" in path] == [
        "/api/models/me/model/commit/main"
    ] * 2

    hub.misbehave(*STEPS["commit"], status=412)
    (folder / "generation_config.json").write_text('{"b": 1}')
    with pytest.raises(RepositoryClashError, match="somebody else commits"):
        push_checkpoint(folder, NAME, retries=1)
    assert len(commits(hub)) == 3


def test_a_card_with_damaged_metadata_is_an_error_before_any_upload(hub, folder):
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.misbehave("POST", "validate-yaml", status=400, body=b'{"errors": [{"message": "license is none"}]}')
    with pytest.raises(HubError, match="license is none"):
        push_checkpoint(folder, NAME)
    assert hub.lfs == {} and commits(hub) == []


@pytest.mark.parametrize(("step", "message"), [("create", "vanished"), ("preupload", "could not be read")])
def test_a_file_that_vanishes_on_the_way(hub, folder, monkeypatch, step, message):
    class Vanishing(dict):
        """Tokens: the first time that one is asked for in that step, the weights go."""

        def get(self, *given):
            if STEPS[step][1] in hub.requests[-1][1]:
                (folder / "model.safetensors").unlink(missing_ok=True)
            return super().get(*given)

    monkeypatch.setattr(hub, "tokens", Vanishing(hub.tokens))
    with pytest.raises(CheckpointError, match=rf"model\.safetensors.*{message}|{message}.*model\.safetensors"):
        push_checkpoint(folder, NAME)
    assert commits(hub) == []


# pulling


@pytest.fixture
def pushed(hub, folder):
    return push_checkpoint(folder, NAME)


@pytest.mark.parametrize("fault", [{"drop": "response"}, {"status": 503}, {"drop": "answer"}], ids=str)
@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_download_that_breaks_for_ever_leaves_no_output(hub, pushed, folder, contents, tmp_path, file, fault):
    hub.misbehave("GET|HEAD", f"/resolve/.*{file}", **fault)
    with pytest.raises(CheckpointError, match="the Hub does not give it"):
        transplant_checkpoint(NAME, byte_level(290), tmp_path / "new", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "new").exists()
    hub.faults.clear()
    again = local_folder(NAME, cache_dir=tmp_path / "cache")  # goes on where it broke
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_download_that_breaks_once_goes_on(hub, pushed, folder, tmp_path, file):
    fault = hub.misbehave("GET", f"/resolve/.*{file}", drop="response", times=1)
    there = local_folder(NAME, cache_dir=tmp_path / "cache")
    assert fault.times == 0 and (there / file).read_bytes() == (folder / file).read_bytes()


def test_a_revision_that_is_not_there(hub, pushed, tmp_path):
    with pytest.raises(CheckpointError, match="RevisionNotFound"):
        transplant_checkpoint(NAME, byte_level(290), tmp_path / "new", revision="none", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "new").exists()


def test_a_private_repository_needs_the_token(hub, folder, tmp_path, monkeypatch):
    push_checkpoint(folder, NAME, private=True)
    monkeypatch.setenv("HF_TOKEN", "")
    with pytest.raises(CheckpointError, match="RepositoryNotFound"):
        local_folder(NAME, cache_dir=tmp_path / "cache")
    there = local_folder(NAME, token="hf_read", cache_dir=tmp_path / "cache")
    assert (there / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_transplant_onto_a_hub_model_carries_licence_and_id(hub, pushed, folder, tmp_path):
    report = transplant_checkpoint(NAME, NAME, tmp_path / "new", cache_dir=tmp_path / "cache")
    assert (report.base.name, report.base.kind, report.base.license) == (NAME, "hub", {"license": "mit"})
    assert report.donor == report.base
    assert (tmp_path / "new" / "LICENSE").read_bytes() == (folder / "LICENSE").read_bytes()
    push_checkpoint(tmp_path / "new", "me/second")
    card = hub.repo("me/second").files()["README.md"].decode()
    assert "base_model: me/model\n" in card and "license: mit\n" in card
    assert snapshot_download("me/second", cache_dir=tmp_path / "cache")
