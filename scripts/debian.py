"""Files of Debian packages, fetched by apt once and unpacked without installing anything."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from samples import cache_root


def debian(package: str) -> Path:
    """Return the folder in which a package's files lie, below the root that they would have.

    Raises:
        SystemExit: there is no apt here, or it knows no such package.
    """
    folder = cache_root() / "debian" / package
    if folder.is_dir():
        return folder
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise SystemExit(f"there is no apt-get here to fetch Debian's {package} with")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{package}-") as scratch:
        for words in (["apt-get", "download", package], ["sh", "-c", "dpkg -x *.deb files"]):
            done = subprocess.run(words, cwd=scratch, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr}")
        (Path(scratch) / "files").rename(folder)
    return folder
