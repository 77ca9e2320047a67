"""A Hub on this machine: in memory, stdlib only, with the endpoints that huggingface_hub uses, and ways to misbehave.

    with LoopbackHub() as hub:
        subprocess.run([...], env=os.environ | hub.environment(home))
        hub.misbehave("PUT", "/lfs/", drop="request", times=1)

The client reads its endpoint when it is imported, so a process gets it through its environment.
"""

import hashlib
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.hub_routes import Handler
from tests.hub_state import LFS, Fault, File, Repo


class LoopbackHub:
    """The server; a context manager."""

    def __init__(self, user: str = "me") -> None:
        self.user, self.tokens = user, {"hf_write": "write", "hf_read": "read"}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.RLock()

    def __enter__(self) -> "LoopbackHub":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, home: Path, token: str | None = "hf_write") -> dict[str, str]:
        """Variables that point a process to this hub; without xet, for which the client has no fallback."""
        found = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        found |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TRANSFORMERS_OFFLINE": "0"}
        return found | ({"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})

    def misbehave(self, method: str, path: str, **fault: Any) -> Fault:
        """Make requests fail whose method is one of "A|B" and whose path matches; see `Fault`."""
        self.faults.append(Fault(method, path, **fault))
        return self.faults[-1]

    def repo(self, name: str) -> Repo:
        """A model's repository."""
        return self.repos["models", name]

    def add(self, name: str, files: dict[str, bytes], private: bool = False) -> Repo:
        """Put a model there, as somebody else would have."""
        repo = self.repos.setdefault(("models", name), Repo(private))
        self.commit(repo, "main", {path: File(data, path.endswith(LFS)) for path, data in files.items()})
        return repo

    def commit(self, repo: Repo, branch: str, files: dict[str, File]) -> str:
        """Add a commit whose whole content is `files`."""
        text = repr((repo.branches[branch], sorted((name, file.sha256) for name, file in files.items())))
        oid = hashlib.sha1(text.encode()).hexdigest()
        repo.commits[oid] = files
        repo.branches[branch].append(oid)
        return oid
