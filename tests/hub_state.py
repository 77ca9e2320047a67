"""What the loopback hub holds, and how its requests can fail."""

import hashlib
import re
from dataclasses import dataclass, field

LFS = (".safetensors", ".parquet", ".png", ".bin", ".pt")
START = "0" * 40  # what a repository's first commit comes after


@dataclass(frozen=True)
class File:
    """A file of a commit; `lfs` says how it was stored."""

    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """git's hash of the file as it is; LFS ids are `sha256`."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        """The hash by which LFS knows the file."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class Repo:
    """A repository: commits by id, branches by name, newest commit last."""

    private: bool
    commits: dict[str, dict[str, File]] = field(default_factory=lambda: {START: {}})
    branches: dict[str, list[str]] = field(default_factory=lambda: {"main": [START]})

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch or a commit's id names."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return revision if revision in self.commits else None

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Names and contents, for tests."""
        return {name: file.data for name, file in self.commits[self.resolve(revision) or ""].items()}


@dataclass
class Fault:
    """What goes wrong with requests that match, `times` times (None: always), after `skip` that went well.

    `status` answers with an error; `drop` cuts the connection: "request" while the request is being read, "response"
    while the answer is being written, "answer" after the request was carried out but before any answer.
    """

    method: str
    path: str
    times: int | None = None
    skip: int = 0
    status: int = 0
    drop: str = ""
    body: bytes = b'{"error": "made to fail"}'

    def strikes(self, method: str, path: str) -> bool:
        """Whether this request is hit; counts it."""
        if method not in self.method.split("|") or not re.search(self.path, path) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True
