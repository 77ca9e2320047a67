"""LLVM IR of real programs: C sources of source distributions by Debian's clang 16, and Rust by the rustc that is installed."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from debian import debian
from samples import cache_root

SOURCES = {  # requirement, folders of C files, folders of headers
    "zopfli": ("zopfli==0.4.3", ["zopfli/src/zopfli"], ["zopfli/src/zopfli"]),
    "brotli": ("brotli==1.1.0", ["c/common", "c/dec", "c/enc"], ["c/include"]),
    "pycryptodome": ("pycryptodome==3.21.0", ["src"], ["src", "src/libtom"]),  # many small functions
}
RUST = """
use std::collections::HashMap;
pub enum Shape { Circle(f64), Square(f64), Named(String) }
pub fn area(shape: &Shape) -> Result<f64, String> {
    match shape {
        Shape::Circle(r) => Ok(3.14159 * r * r),
        Shape::Square(a) => Ok(a * a),
        Shape::Named(name) => Err(format!("no area of {name}")),
    }
}
pub fn count(words: &str) -> HashMap<&str, usize> {
    let mut found = HashMap::new();
    for word in words.split_whitespace() { *found.entry(word).or_insert(0) += 1; }
    found
}
pub fn sorted(mut numbers: Vec<i64>) -> Vec<i64> { numbers.sort_by(|a, b| b.cmp(a)); numbers }
"""


def sdist(requirement: str) -> Path:
    """Folder of an unpacked source distribution, fetched once."""
    folder = cache_root() / "sdist" / requirement.replace("==", "-")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
            done = subprocess.run(
                [*words, "--no-binary", ":all:", "-d", scratch, requirement], capture_output=True, text=True
            )
            archives = list(Path(scratch).glob("*.tar.gz"))
            if not archives:
                raise SystemExit(f"cannot fetch {requirement}:\n{done.stderr[-2000:]}")
            with tarfile.open(archives[0]) as archive:
                archive.extractall(Path(scratch) / "files", filter="data")
            next((Path(scratch) / "files").iterdir()).rename(folder)
    return folder


def clang() -> tuple[list[str], dict[str, str]]:
    """Command line and environment of Debian's clang 16."""
    libraries = [debian("libllvm16"), debian("libclang-cpp16")]
    folders = [str(path.parent) for each in libraries for path in each.rglob("*.so*")]
    headers = next(debian("libclang-common-16-dev").rglob("stddef.h")).parent
    program = debian("clang-16") / "usr/lib/llvm-16/bin/clang"
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(dict.fromkeys(folders))}
    return [str(program), "-I", str(headers)], environment


def ir_of_c(name: str, level: str, bitcode: bool = False) -> list[Path]:
    """Modules of a source distribution, compiled once.

    Args:
        name: one of SOURCES.
        level: such as "-O0".
        bitcode: as bitcode.

    Returns:
        Files, sorted.
    """
    requirement, folders, headers = SOURCES[name]
    output = cache_root() / "ir" / f"{name}{level}{'-bc' if bitcode else ''}"
    if not output.is_dir():
        source = sdist(requirement)
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            command, environment = clang()
            includes = [word for each in headers for word in ("-I", str(source / each))]
            for path in sorted(path for folder in folders for path in (source / folder).glob("*.c")):
                target = made / f"{path.parent.name}_{path.stem}.{'bc' if bitcode else 'll'}"
                words = [
                    *command,
                    level,
                    *includes,
                    *([] if bitcode else ["-S"]),
                    "-emit-llvm",
                    "-c",
                    "-w",
                    *("-DHAVE_STDINT_H", "-DHAVE_POSIX_MEMALIGN"),  # what a build of pycryptodome finds out
                    "-o",
                    str(target),
                ]
                done = subprocess.run([*words, str(path)], env=environment, capture_output=True, text=True)
                if done.returncode:
                    print(f"clang: {path.name} is left out: {done.stderr.splitlines()[:1]}", file=sys.stderr)
            if not any(made.iterdir()):
                raise SystemExit(f"clang compiles nothing of {requirement}")
            made.rename(output)
    return sorted(output.iterdir())


def ir_of_rust() -> list[Path]:
    """Modules of a small Rust program with and without optimisation; none where there is no rustc."""
    if shutil.which("rustc") is None:
        return []
    output = cache_root() / "ir" / "rust"
    if not output.is_dir():
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            source = Path(scratch) / "shapes.rs"
            source.write_text(RUST)
            for level in "02":
                words = [
                    "rustc",
                    "--crate-type=lib",
                    "--emit=llvm-ir",
                    "-C",
                    f"opt-level={level}",
                    "-C",
                    "codegen-units=1",
                ]
                subprocess.run(
                    [*words, "-g", "-o", str(made / f"rust-O{level}.ll"), str(source)], check=True, capture_output=True
                )
            made.rename(output)
    return sorted(output.iterdir())
