"""Pushing a finished checkpoint to the Hub, in one commit: all of it, or nothing."""

import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from hf_tokext.errors import CheckpointError, HubError, RepositoryClashError
from hf_tokext.hub.calls import patiently
from hf_tokext.hub.cards import CARD, MARK_START, card_for_push, is_generated
from hf_tokext.hub.files import Selection, is_model_file, is_stale, select_files
from hf_tokext.hub.loading import read_object
from hf_tokext.transplant.report import REPORT_JSON

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        repo_id: the repository, with its namespace.
        url: its page.
        commit: the newest commit of the branch, after the push.
        changed: whether that commit is a new one.
        files: names of the checkpoint's files, the card included, changed or not.
        deleted: files of an earlier checkpoint that the commit took away.
        left_out: what of the folder is not uploaded, folders with a slash at the end.
    """

    repo_id: str
    url: str
    commit: str
    changed: bool
    files: list[str] = field(repr=False)
    deleted: list[str]
    left_out: list[str]


def push_checkpoint(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    revision: str | None = None,
    private: bool | None = None,
    overwrite: bool = False,
    message: str = "Upload with hf_tokext",
    token: str | None = None,
    retries: int = 3,
) -> Pushed:
    """Upload a finished checkpoint with its model card to the Hub, in one commit; the folder is only read.

    Uploaded are weights in safetensors, configs, tokenizer, chat templates, licences, reports and the card (a new one
    where the folder has none). Never uploaded are pickles, code other than `hf_tokext_auto.py`, what a trainer keeps, and
    hidden files. Files of an earlier checkpoint that the new one lacks are deleted in the same commit. A push that would
    change nothing makes no commit.

    Args:
        folder: the checkpoint.
        repo_id: "name" or "namespace/name"; made if it does not exist.
        revision: branch to push to, made from the main one if it does not exist; None is the main one.
        private: whether a repository that is made is private; None is the Hub's own habit. True also refuses to push to
            one that is public.
        overwrite: replace a model that is not of this package, and a card that somebody wrote on the Hub.
        message: the commit's first line.
        token: access token; None is the stored one, or HF_TOKEN.
        retries: further attempts where the Hub fails or hangs up, with 1, 2, 4, ... seconds in between (beyond what its
            client tries by itself).

    Returns:
        What was done.

    Raises:
        CheckpointError: the folder is no finished checkpoint, is damaged, or would not give back its tokenizer's class.
        UnsafeCheckpointError: a file leads out of the folder, the weights are pickled only, or `hf_tokext_auto.py` holds
            other code or names a package that is not installed.
        HubTokenError: the token is missing or wrong.
        HubReadOnlyError: the token may not write there.
        RepositoryClashError: the repository holds somebody's model or card and `overwrite` is off, or is public where a
            private one was asked for, or the name is taken.
        HubUnavailableError: the connection broke, or the Hub failed, at every attempt.
        HubError: the Hub refused for another reason, such as a name that is none.
    """
    source = Path(folder).expanduser().resolve()
    if revision is not None and COMMIT.fullmatch(revision):
        raise HubError(f"{revision} is a commit, which cannot be pushed to: name a branch")
    chosen = select_files(source)
    _refuse_lost_class(source)
    card = card_for_push(source, repo_id)
    api = HfApi(token=token)

    def attempt() -> Pushed:
        made = api.create_repo(repo_id, private=private, exist_ok=True)
        name = made.repo_id if "/" not in repo_id else repo_id
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        info = api.model_info(name, revision=revision)
        if private and not info.private:
            raise RepositoryClashError(f"{name} is public: make it private on the Hub, or push without `private`")
        there = {each.rfilename for each in info.siblings or ()}
        if not overwrite:
            _refuse_clash(api, name, info.sha, there, card)
        deleted = sorted(each for each in there if is_stale(each, chosen))
        commit = api.create_commit(
            name,
            _operations(chosen, card, deleted),
            commit_message=message,
            revision=revision,
            parent_commit=info.sha,  # what was looked at is what is changed
        )
        return Pushed(
            repo_id=name,
            url=f"{api.endpoint}/{name}",
            commit=commit.oid,
            changed=commit.oid != info.sha,
            files=sorted([*chosen.files, CARD]),
            deleted=deleted,
            left_out=chosen.left_out,
        )

    return patiently(attempt, repo_id, retries)


def _refuse_lost_class(folder: Path) -> None:
    """Refuse a folder whose tokenizer would come back as another class than the registered one that saved it."""
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES

    declared = str(read_object(folder / "tokenizer_config.json").get("tokenizer_class"))
    own = REGISTERED_TOKENIZER_CLASSES.get(declared)
    if own is None or own.__module__ == "__main__":  # nobody else could import the latter, whatever the folder says
        return
    try:
        found = type(AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
    except Exception:  # strict configs raise a class of their own for every kind of bad value
        return  # `keep_tokenizer` could do nothing either
    if found is not own:
        raise CheckpointError(
            f"{folder} has a {declared}, and AutoTokenizer would make a {found.__name__} of it: call "
            "hf_tokext.keep_tokenizer(folder), then push"
        )


def _operations(chosen: Selection, card: str, deleted: list[str]) -> list[CommitOperationAdd | CommitOperationDelete]:
    """What the commit does; made anew for every attempt, since the client writes into them."""
    gone = [name for name, path in chosen.files.items() if not path.is_file()]
    if gone:
        raise CheckpointError(f"{', '.join(sorted(gone))} vanished while the folder was being pushed")
    added = [CommitOperationAdd(name, str(path)) for name, path in sorted(chosen.files.items())]
    return [
        *added,
        CommitOperationAdd(CARD, card.encode()),
        *(CommitOperationDelete(each, is_folder=False) for each in deleted),
    ]


def _refuse_clash(api: HfApi, name: str, commit: str | None, there: set[str], card: str) -> None:
    """Refuse to replace a model that is not ours, or by a generated card one that somebody wrote."""
    model = any(is_model_file(each) for each in there)
    remote = _remote_card(api, name, commit) if CARD in there else ""
    if model and REPORT_JSON not in there and MARK_START not in remote:
        raise RepositoryClashError(
            f"{name} holds a model that was not pushed by hf_tokext: choose another name, or pass overwrite=True"
        )
    written = CARD in there and remote != card and not is_generated(remote)
    if written and is_generated(card):
        raise RepositoryClashError(
            f"the card of {name} was written or changed by somebody: put it into the folder as {CARD} to keep it, or pass "
            "overwrite=True to replace it by the generated one"
        )


def _remote_card(api: HfApi, name: str, commit: str | None) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        path = api.hf_hub_download(name, CARD, revision=commit, local_dir=scratch)
        return Path(path).read_bytes().decode("utf-8", "replace")
