"""The endpoints of the loopback hub, one method each."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_state import LFS, START, File, Repo

WHEN = "2026-01-01T00:00:00.000Z"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; `hub` is the LoopbackHub it belongs to."""

    hub: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        path = urlsplit(self.path).path
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
            fault = next((each for each in self.hub.faults if each.strikes(self.command, path)), None)
        self.drop, length = fault.drop if fault else "", int(self.headers.get("Content-Length") or 0)
        if self.drop == "request":
            self.rfile.read(length // 2)
            return self._hang_up()
        self.body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        if fault and fault.status:
            return self._send(fault.status, fault.body, **{"Content-Type": "text/html"})
        for method, pattern, action in ROUTES:
            found = re.fullmatch(pattern, path) if self.command in method.split("|") else None
            if found:
                with self.hub.lock:
                    return getattr(self, action)(
                        **{key: unquote(value or "") for key, value in found.groupdict().items()}
                    )
        return self._error(404, "no such page")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()

    def _send(self, status: int, data: bytes, **headers: str) -> None:
        if self.drop == "answer":
            return self._hang_up()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if self.drop == "response" else data)
        if self.drop == "response":
            self._hang_up()
        return None

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def _error(self, status: int, message: str, code: str = "", **headers: str) -> None:
        headers |= {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), **{"Content-Type": "application/json"}, **headers)

    # who is asking, and for what

    def _role(self, needed: str = "write") -> bool:
        """Whether the token may do it; answers where not."""
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        role = self.hub.tokens.get(given)
        if role is None:
            self._error(
                401, "Invalid credentials in Authorization header" if given else "Invalid username or password."
            )
        elif needed == "write" and role != "write":
            self._error(403, "Forbidden: you need a token with write access")
        return role is not None and needed in ("read", role)

    def _repo(self, kind: str, name: str) -> Repo | None:
        """The repository, if the asker may know of it; answers where not."""
        repo = self.hub.repos.get((kind, name))
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if given and given not in self.hub.tokens:
            self._error(401, "Invalid credentials in Authorization header")
            return None
        if repo is None or (repo.private and not given):
            self._error(404 if given else 401, "Repository not found", "RepoNotFound")
            return None
        return repo

    def _at(self, kind: str, name: str, revision: str) -> Iterator[tuple[Repo, str]]:
        """The repository and the commit; yields nothing and answers where there is none."""
        repo = self._repo(kind or "models", name)
        if repo is not None:
            oid = repo.resolve(revision or "main")
            if oid is None:
                self._error(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            else:
                yield repo, oid

    # what the client asks for

    def whoami(self) -> None:
        """GET whoami."""
        if self._role("read"):
            self._json({"type": "user", "name": self.hub.user, "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def create(self) -> None:
        """POST a new repository."""
        asked = json.loads(self.body)
        if not self._role():
            return None
        owner, kind = asked.get("organization") or self.hub.user, (asked.get("type") or "model") + "s"
        name = f"{owner}/{asked['name']}"
        made = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        if (kind, name) in self.hub.repos:
            return self._json(made | {"error": "You already created this repo"}, 409)
        if owner != self.hub.user:
            return self._error(403, f"You don't have the rights to create a model under the namespace {owner!r}")
        self.hub.repos[kind, name] = Repo(asked.get("visibility") == "private" or bool(asked.get("private")))
        return self._json(made)

    def delete(self) -> None:
        """DELETE a repository."""
        asked = json.loads(self.body)
        if self._role():
            kind, owner = (asked.get("type") or "model") + "s", asked.get("organization") or self.hub.user
            found = self.hub.repos.pop((kind, f"{owner}/{asked['name']}"), None)
            self._json({}) if found else self._error(404, "Repository not found", "RepoNotFound")

    def validate(self) -> None:
        """POST a card whose metadata are to be looked at."""
        good = json.loads(self.body)["content"].startswith("---\n")
        self._json({"errors": [], "warnings": [] if good else [{"message": "empty or missing yaml metadata"}]})

    def info(self, kind: str, name: str, revision: str = "") -> None:
        """GET what a repository is."""
        for repo, oid in self._at(kind, name, revision):
            siblings = [{"rfilename": path} for path in sorted(repo.commits[oid])]
            found = {"id": name, "sha": oid, "private": repo.private, "siblings": siblings, "tags": [], "gated": False}
            self._json(found | {"createdAt": WHEN, "lastModified": WHEN, "downloads": 0, "likes": 0, "disabled": False})

    def tree(self, kind: str, name: str, revision: str, folder: str) -> None:
        """GET the files of a commit."""
        for repo, oid in self._at(kind, name, revision):
            deep = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() in ("1", "true")
            found: dict[str, dict[str, Any]] = {}
            for path, file in sorted(repo.commits[oid].items()):
                if folder and not path.startswith(folder + "/"):
                    continue
                below = path[len(folder) + 1 :] if folder else path
                if "/" in below:
                    inner = path[: len(path) - len(below)] + below.partition("/")[0]
                    found[inner] = {"type": "directory", "path": inner, "size": 0, "oid": START}
                if deep or "/" not in below:
                    entry = {"type": "file", "path": path, "size": len(file.data), "oid": file.oid}
                    lfs = {"lfs": {"oid": file.sha256, "size": len(file.data), "pointerSize": 130}}
                    found[path] = entry | (lfs if file.lfs else {})
            if folder and not found:
                return self._error(404, f"{folder} does not exist", "EntryNotFound")
            self._json(list(found.values()))
        return None

    def refs(self, kind: str, name: str) -> None:
        """GET the branches."""
        for repo, _ in self._at(kind, name, ""):
            found = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c[-1]} for n, c in repo.branches.items()]
            self._json({"branches": found, "tags": [], "converts": []})

    def history(self, kind: str, name: str, revision: str) -> None:
        """GET the commits of a branch, the newest first."""
        for repo, _ in self._at(kind, name, revision):
            found = [oid for oid in reversed(repo.branches[revision]) if oid != START]
            self._json([{"id": oid, "title": "", "message": "", "authors": [], "date": WHEN} for oid in found])

    def branch(self, kind: str, name: str, revision: str) -> None:
        """POST a new branch."""
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        for repo, oid in self._at(kind, name, start) if self._role() else ():
            if revision in repo.branches:
                return self._error(409, "Reference already exists")
            repo.branches[revision] = [oid]
            self._json({})
        return None

    def preupload(self, kind: str, name: str, revision: str) -> None:
        """POST what is going to be uploaded; answers how, and what is there already."""
        for repo, oid in self._at(kind, name, revision) if self._role() else ():
            found = []
            for each in json.loads(self.body)["files"]:
                there, lfs = repo.commits[oid].get(each["path"]), each["path"].endswith(LFS)
                known = None if there is None else there.sha256 if there.lfs else there.oid
                mode = {"uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": known}
                found.append({"path": each["path"]} | mode)
            self._json({"files": found})

    def batch(self, kind: str, name: str) -> None:
        """POST which LFS objects are going to come; answers where to."""
        if self._role() and self._repo(kind or "models", name) is not None:
            found = []
            for each in json.loads(self.body)["objects"]:
                to = {"upload": {"href": f"{self.hub.url}/lfs/{each['oid']}", "header": {}}}
                found.append(each | ({} if each["oid"] in self.hub.lfs else {"actions": to}))
            self._json({"transfer": "basic", "objects": found})

    def store(self, oid: str) -> None:
        """PUT an LFS object; one that was cut short is not kept."""
        if hashlib.sha256(self.body).hexdigest() != oid:
            return self._error(400, "the content is not that of its id")
        self.hub.lfs[oid] = self.body
        return self._send(200, b"")

    def take(self, kind: str, name: str, revision: str) -> None:
        """POST a commit: all of it, or none."""
        for repo, head in self._at(kind, name, revision) if self._role() else ():
            if revision not in repo.branches:
                return self._error(400, f"{revision} is no branch")
            files, parent = dict(repo.commits[head]), None
            for line in self.body.splitlines():
                key, value = (entry := json.loads(line))["key"], entry["value"]
                if key == "header":
                    parent = value.get("parentCommit")
                elif key == "file":
                    files[value["path"]] = File(base64.b64decode(value["content"]), False)
                elif key == "lfsFile":
                    if value["oid"] not in self.hub.lfs:
                        return self._error(400, f"LFS object of {value['path']} was not uploaded")
                    files[value["path"]] = File(self.hub.lfs[value["oid"]], True)
                elif key == "deletedFile":
                    if files.pop(value["path"], None) is None:
                        return self._error(404, "A file with this name doesn't exist", "EntryNotFound")
                elif key == "deletedFolder":
                    files = {path: file for path, file in files.items() if not path.startswith(value["path"] + "/")}
            if parent not in (None, head):
                return self._error(412, "A commit has happened since. Please refresh and try again.")
            oid = self.hub.commit(repo, revision, files)
            self._json({"commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "pullRequestUrl": None})
        return None

    def resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        """GET or HEAD a file, or a range of it."""
        for repo, oid in self._at(kind, name, revision):
            found = repo.commits[oid].get(file)
            if found is None:
                return self._error(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": oid})
            headers = {"X-Repo-Commit": oid, "ETag": f'"{found.oid}"', "Accept-Ranges": "bytes"}
            if found.lfs:
                headers |= {"X-Linked-Etag": f'"{found.sha256}"', "X-Linked-Size": str(len(found.data))}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
            if wanted is None:
                return self._send(200, found.data, **headers)
            first, last, size = int(wanted[1]), int(wanted[2] or len(found.data) - 1), len(found.data)
            headers["Content-Range"] = f"bytes {first}-{min(last, size - 1)}/{size}"
            return self._send(206, found.data[first : last + 1], **headers)
        return None


_API = r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
_REVISION = r"/(?P<revision>[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("DELETE", r"/api/repos/delete", "delete"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("GET", _API + r"/refs", "refs"),
    ("GET", _API + r"/commits" + _REVISION, "history"),
    ("GET", _API + r"/revision" + _REVISION, "info"),
    ("GET", _API + r"/tree" + _REVISION + r"(?:/(?P<folder>.+))?", "tree"),
    ("GET", _API, "info"),
    ("POST", _API + r"/branch" + _REVISION, "branch"),
    ("POST", _API + r"/preupload" + _REVISION, "preupload"),
    ("POST", _API + r"/commit" + _REVISION, "take"),
    ("POST", r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]+)", "store"),
    (
        "GET|HEAD",
        r"/(?:(?P<kind>datasets)/)?(?P<name>[^/]+/[^/]+)/resolve" + _REVISION + r"/(?P<file>.+)",
        "resolve",
    ),
]
