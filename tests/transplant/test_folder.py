"""Output folders: old or new, never a mixture, whatever happens."""

import errno
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hf_tokext.errors import CheckpointError, OutputExistsError
from hf_tokext.transplant import folder as folder_module
from hf_tokext.transplant import rename
from hf_tokext.transplant.folder import output_folder, refuse_overlap

FILES = 60


def write_all(folder: Path, text: str, pause: float = 0.0) -> None:
    (folder / "config.json").write_text(text)
    (folder / "sub").mkdir()
    for i in range(FILES):
        (folder / "sub" / f"{i}.txt").write_text(text * 50)
        time.sleep(pause)


def state(folder: Path) -> tuple[int, set[str]]:
    """How many files, and the distinct texts in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return len(files), {path.read_text()[:3] for path in files}


def leftovers(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if ".tokext-" in path.name)


@pytest.fixture(params=["exchange", "two renames"])
def way(request, monkeypatch):
    if request.param == "two renames":
        monkeypatch.setattr(rename, "_rename_with", lambda *_: False)
    return request.param


def test_new_folder(tmp_path, way):
    with output_folder(tmp_path / "a" / "out", overwrite=False) as temporary:
        assert temporary.parent == tmp_path / "a"
        write_all(temporary, "new")
        assert not (tmp_path / "a" / "out").exists()
    assert state(tmp_path / "a" / "out") == (FILES + 1, {"new"})
    assert leftovers(tmp_path / "a") == []


def test_overwrite(tmp_path, way):
    out = tmp_path / "out"
    with output_folder(out, overwrite=True) as temporary:
        write_all(temporary, "old")
    (out / "stale.model").write_text("old")
    with output_folder(out, overwrite=True) as temporary:
        write_all(temporary, "new")
        assert state(out) == (FILES + 2, {"old"})
    assert state(out) == (FILES + 1, {"new"})
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux's")
def test_linux_exchanges_in_one_step(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    assert rename.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "f").read_text() == "b"
    assert (tmp_path / "b" / "f").read_text() == "a"


@pytest.mark.parametrize("kind", ["full", "empty", "file"])
def test_existing_is_refused(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        if kind == "full":
            write_all(out, "old")
    with pytest.raises(OutputExistsError), output_folder(out, overwrite=False):
        raise AssertionError("the block must not run")
    assert out.exists()
    assert leftovers(tmp_path) == []


def test_a_file_or_a_foreign_folder_is_never_overwritten(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("mine")
    (tmp_path / "empty").mkdir()
    for name in ("file", "photos"):
        with pytest.raises(OutputExistsError), output_folder(tmp_path / name, overwrite=True):
            raise AssertionError("the block must not run")
    assert (tmp_path / "photos" / "cat.png").read_text() == "mine"
    with output_folder(tmp_path / "empty", overwrite=True) as temporary:
        write_all(temporary, "new")
    assert state(tmp_path / "empty") == (FILES + 1, {"new"})


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt()])
def test_exception_leaves_the_old(tmp_path, error):
    out = tmp_path / "out"
    with output_folder(out, overwrite=False) as temporary:
        write_all(temporary, "old")
    with pytest.raises(type(error)), output_folder(out, overwrite=True) as temporary:
        (temporary / "config.json").write_text("new")
        raise error
    assert state(out) == (FILES + 1, {"old"})
    assert leftovers(tmp_path) == []


def test_target_made_in_the_meantime_is_kept(tmp_path, way):
    out = tmp_path / "out"
    with pytest.raises(OutputExistsError), output_folder(out, overwrite=False) as temporary:
        write_all(temporary, "new")
        out.mkdir()
        (out / "config.json").write_text("theirs")
    assert state(out) == (1, {"the"})


def test_two_runs_at_once(tmp_path):
    out = tmp_path / "out"
    with output_folder(out, overwrite=False) as temporary:
        write_all(temporary, "new")
        with pytest.raises(CheckpointError, match="another run"), output_folder(out, overwrite=True):
            raise AssertionError("the block must not run")
        assert temporary.is_dir()
        with output_folder(tmp_path / "other", overwrite=False) as other:
            write_all(other, "two")
    assert state(out) == (FILES + 1, {"new"})
    assert state(tmp_path / "other") == (FILES + 1, {"two"})


def test_no_locks_still_works_but_cleans_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rename, "_lock", lambda _: False)
    (tmp_path / ".out.tokext-new-00000000").mkdir()
    with output_folder(tmp_path / "out", overwrite=False) as temporary:
        write_all(temporary, "new")
    assert state(tmp_path / "out") == (FILES + 1, {"new"})
    assert leftovers(tmp_path) == [".out.tokext-new-00000000"]


def test_old_folder_is_moved_back_when_the_new_is_missing(tmp_path):
    old = tmp_path / ".out.tokext-old"
    old.mkdir()
    write_all(old, "old")
    with pytest.raises(OutputExistsError), output_folder(tmp_path / "out", overwrite=False):
        raise AssertionError("the block must not run")
    assert state(tmp_path / "out") == (FILES + 1, {"old"})
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, "No space left"), ValueError("io (os error 28)")])
def test_disk_full(tmp_path, full):
    with (
        pytest.raises(CheckpointError, match=r"3\.00 MB are needed.* are free"),
        output_folder(tmp_path / "out", overwrite=False, needed=3_000_000) as temporary,
    ):
        (temporary / "config.json").write_text("new")
        raise full
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_seen_before_anything_is_written(tmp_path):
    with (
        pytest.raises(CheckpointError, match="is full"),
        output_folder(tmp_path / "out", overwrite=False, needed=10**18),
    ):
        raise AssertionError("the block must not run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_really_full_device(tmp_path):
    with (
        pytest.raises(CheckpointError, match="is full"),
        output_folder(tmp_path / "out", overwrite=False),
        open("/dev/full", "wb", buffering=0) as out,
    ):
        out.write(b"x" * 4096)
    assert list(tmp_path.iterdir()) == []


def test_overlap(tmp_path):
    base = tmp_path / "base"
    (base / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(base, target_is_directory=True)
    for output in (base, base / "new", base / "inner" / "x", tmp_path, tmp_path / "link", tmp_path / "link" / "y"):
        with pytest.raises(OutputExistsError, match="inputs are never changed"):
            refuse_overlap(output, "some/hub-id", base)
    refuse_overlap(tmp_path / "out", base, "some/hub-id")
    refuse_overlap(tmp_path / "base2", base)


def test_links_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    with output_folder(tmp_path / "link", overwrite=True) as temporary:
        write_all(temporary, "new")
    assert (tmp_path / "link").is_symlink()
    assert state(tmp_path / "real") == (FILES + 1, {"new"})


CHILD = """
    import sys
    sys.path[:0] = [{tests!r}, {root!r}]
    from pathlib import Path
    from test_folder import write_all
    from hf_tokext.transplant import rename
    from hf_tokext.transplant.folder import output_folder
    if {fallback}:
        rename._rename_with = lambda *_: False
    for round in range(10**6):
        with output_folder(Path({out!r}), overwrite={overwrite} or round > 0) as temporary:
            if round == 0:
                print("go", flush=True)
            write_all(temporary, "new", {pause})
        if not {forever}:
            break
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_kill_at_random_moments(tmp_path, overwrite, fallback):
    """Five kills each; the overwriting child goes on for ever, so that many kills fall near its renames."""
    chance = random.Random(7)
    root = Path(folder_module.__file__).parents[2]
    seen = set()
    for number in range(5):
        out = tmp_path / f"out{number}"
        if overwrite:
            out.mkdir()
            write_all(out, "old")
        script = textwrap.dedent(CHILD).format(
            tests=str(Path(__file__).parent),
            root=str(root),
            out=str(out),
            overwrite=overwrite,
            fallback=fallback,
            pause=0.0 if overwrite else 0.002,
            forever=overwrite,
        )
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"go\n"
        time.sleep(chance.uniform(0, 0.4))
        child.kill()
        child.wait()
        child.stdout.close()
        if out.exists():
            count, texts = state(out)
            assert count == FILES + 1
            assert texts in ({"old"}, {"new"})
            seen |= texts
        else:
            # without --overwrite the old state is "nothing"; two renames leave a gap that the next run mends
            assert not overwrite or (fallback and (tmp_path / f".{out.name}.tokext-old").is_dir())
            seen.add("nothing")
        with output_folder(out, overwrite=True) as temporary:
            write_all(temporary, "two")
        assert state(out) == (FILES + 1, {"two"})
        assert leftovers(tmp_path) == []
    assert seen & ({"old", "new"} if overwrite else {"nothing", "new"})
