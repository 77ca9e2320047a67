"""Files of LLVM IR: where they are, and their text, of bitcode too."""

from collections.abc import Sequence
from pathlib import Path

from hf_tokext.errors import MissingExtraError, TextError

_BITCODE = (b"BC\xc0\xde", b"\xde\xc0\x17\x0b")
_COMPILE = "let the compiler write IR (clang -S -emit-llvm, rustc --emit=llvm-ir)"
_MACH_O = (b"\xfe\xed\xfa\xce", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_BINARIES = (  # what a file is, what to do, and how such files begin
    ("an object file or a program (ELF)", _COMPILE, (b"\x7fELF",)),
    ("an object file or a program of macOS, or a class of Java", _COMPILE, _MACH_O),
    ("an object file or a program of Windows", _COMPILE, (b"MZ", b"\x64\x86", b"\x64\xaa", b"\x4c\x01")),
    ("WebAssembly", _COMPILE, (b"\0asm",)),
    ("an archive", f"unpack it (ar x) if bitcode is in it, or {_COMPILE}", (b"!<arch>\n", b"!<thin>\n")),
    ("packed", "unpack it first (gunzip, say)", _PACKED),
)


def ir_files(paths: Sequence[str | Path]) -> list[Path]:
    """Find the files of IR.

    Args:
        paths: files and folders.

    Returns:
        The files, those of a folder sorted.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        inside = sorted(each for each in path.rglob("*") if each.suffix in (".ll", ".bc") and each.is_file())
        found += inside if path.is_dir() else [path]
    return found


def read_ir(path: str | Path) -> str:
    """Read a module as text.

    Args:
        path: a file of text or bitcode.

    Returns:
        The text.

    Raises:
        TextError: it cannot be read, or is neither; what it is then, and how IR is made of it.
        MissingExtraError: it is bitcode, and llvmlite is not installed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror}") from error
    for what, remedy, starts in _BINARIES:
        if data.startswith(starts):
            raise TextError(f"{path} is {what}, not LLVM IR: {remedy}")
    if data.startswith(_BITCODE):
        try:
            import llvmlite.binding as llvm
        except ImportError as error:
            raise MissingExtraError("llvmlite", "ir", "reading bitcode") from error
        try:
            return str(llvm.parse_bitcode(data))
        except RuntimeError as error:
            version, reason = ".".join(map(str, llvm.llvm_version_info)), " ".join(str(error).split())
            raise TextError(
                f"{path} is no bitcode that LLVM {version} reads ({reason}): it is cut "
                "short or broken, and must be made again, or it is of a newer LLVM, whose own llvm-dis writes it as text"
            ) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is neither bitcode nor text in UTF-8: {_COMPILE}") from error
