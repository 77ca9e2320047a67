import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from hf_tokext.errors import TextError
from hf_tokext.measure.ir_files import read_ir

TEXT = (Path(__file__).parents[1] / "data/loops.ll").read_text(encoding="utf-8")


def bitcode():
    return llvm.parse_assembly(TEXT, llvm.create_context()).as_bitcode()


def compiled(triple):
    """An object file of another platform, by llvmlite's own LLVM."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine()
    module = llvm.parse_assembly("define i32 @f() { ret i32 1 }", llvm.create_context())
    module.triple = triple
    return machine.emit_object(module)


def test_text_and_bitcode_are_read(tmp_path):
    (tmp_path / "a.ll").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.bc").write_bytes(bitcode())
    assert read_ir(tmp_path / "a.ll") == TEXT
    assert "define i32 @sum" in read_ir(tmp_path / "a.bc")


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.ll", TEXT)
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        archive.addfile(tarfile.TarInfo("a.ll"))
    return buffer.getvalue()


OBJECTS = {
    "x86_64-pc-linux-gnu": "ELF",
    "x86_64-apple-macosx11.0.0": "macOS",
    "x86_64-pc-windows-msvc": "Windows",
    "wasm32-unknown-unknown": "WebAssembly",
}


@pytest.mark.parametrize("triple", OBJECTS)
def test_object_files_are_refused_with_how_ir_is_made(tmp_path, triple):
    (tmp_path / "a.o").write_bytes(compiled(triple))
    with pytest.raises(TextError, match=rf"a\.o is .*{OBJECTS[triple]}.*not LLVM IR: .*clang -S -emit-llvm"):
        read_ir(tmp_path / "a.o")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(57), r"ELF.*clang -S -emit-llvm"),  # all of it is valid UTF-8
        (b"\xcf\xfa\xed\xfe" + bytes(28), r"macOS.*clang -S -emit-llvm"),
        (b"MZ\x90\0", r"Windows.*clang -S -emit-llvm"),
        (b"\x64\x86\x02\0", r"Windows.*clang -S -emit-llvm"),
        (b"\0asm\x01\0\0\0", r"WebAssembly.*clang -S -emit-llvm"),
        (b"!<arch>\n", r"archive.*ar x.*clang -S -emit-llvm"),
        (gzip.compress(TEXT.encode()), "packed.*unpack"),
        (zipped(), "packed.*unpack"),
        (tarred(), "packed.*unpack"),
        (TEXT.encode("utf-16"), r"bitcode nor text in UTF-8.*clang -S -emit-llvm"),
    ],
)
def test_other_files_are_refused_with_what_they_are_and_what_to_do(tmp_path, data, reason):
    (tmp_path / "some file").write_bytes(data)
    with pytest.raises(TextError, match=f"some file is .*{reason}"):
        read_ir(tmp_path / "some file")


@pytest.mark.parametrize("left", [4, 16, 200, -4])
def test_bitcode_that_is_cut_short_is_refused_with_what_to_do(tmp_path, left):
    (tmp_path / "a.bc").write_bytes(bitcode()[:left])
    with pytest.raises(TextError, match=r"a\.bc is no bitcode.*cut short or broken, and must be made again.*llvm-dis"):
        read_ir(tmp_path / "a.bc")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.ll", tmp_path):
        with pytest.raises(TextError, match="cannot be read"):
            read_ir(path)
