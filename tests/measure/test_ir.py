import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from hf_tokext.errors import MissingExtraError, TextError
from hf_tokext.measure.ir import language_of, measure_ir
from hf_tokext.vocabulary.ir_lexer import lexemes

DATA = Path(__file__).parents[1] / "data"
FILES = sorted(DATA.glob("*.ll"))


def test_instructions_are_those_of_llvm_and_duplicates_are_found():
    found = measure_ir([DATA])
    assert [Path(module.file) for module in found.modules] == FILES and not found.bad
    for path, module in zip(FILES, found.modules, strict=True):
        real = llvm.parse_assembly(path.read_text(encoding="utf-8"), llvm.create_context())
        counts = {
            f.name: sum(len(list(b.instructions)) for b in f.blocks) for f in real.functions if not f.is_declaration
        }
        own = {f.name[1:]: f.instructions for f in found.functions if f.file == module.file}
        assert own == counts and module.instructions == sum(counts.values())
        assert module.tokens >= sum(f.tokens for f in found.functions if f.file == module.file)
    assert [function.name for function in found.functions if function.duplicate] == ["@again"]  # a renamed @same
    assert [module.language for module in found.modules] == ["C++", "C", "C"]


def test_debug_information_is_not_counted(tmp_path):
    plain = "define void @f() {\n  ret void\n}\n"
    debug = "define void @f() !dbg !1 {\n  ret void, !dbg !DILocation(line: 3, scope: !1)\n}\n!1 = distinct !{}\n!x = !{!1}\n"
    (tmp_path / "a.ll").write_text(plain)
    (tmp_path / "b.ll").write_text(debug)
    one, other = measure_ir([tmp_path]).modules
    assert (
        (one.tokens, one.bytes)
        == (other.tokens, other.bytes)
        == (len(lexemes(plain)), len(" ".join(lexemes(plain))) + 1)
    )


def test_a_planted_module_and_function_are_found(tmp_path):
    text = (DATA / "loops.ll").read_text(encoding="utf-8")
    (tmp_path / "a.ll").write_text(text)
    (tmp_path / "b.ll").write_text(text.replace("%so.far", "%x").replace("@sum", "@other"))
    found = measure_ir([tmp_path])
    assert [module.duplicate for module in found.modules] == [False, True]
    assert [function.duplicate for function in found.functions] == [False, False, True, True]
    (language,) = found.by_language()
    assert (language["duplicate_modules"], language["duplicate_functions"]) == (1, 2)
    changed = text.replace("icmp sle", "icmp slt")
    (tmp_path / "b.ll").write_text(changed)
    assert [function.duplicate for function in measure_ir([tmp_path]).functions] == [False, False, False, True]


def test_bitcode_is_read_and_has_the_same_functions(tmp_path):
    text = (DATA / "calls.ll").read_text(encoding="utf-8")
    (tmp_path / "a.bc").write_bytes(llvm.parse_assembly(text, llvm.create_context()).as_bitcode())
    own, other = measure_ir([DATA / "calls.ll"]), measure_ir([tmp_path])
    assert [f.instructions for f in own.functions] == [f.instructions for f in other.functions]


def test_bad_files_are_listed_and_several_processes_agree(tmp_path):
    (tmp_path / "a.ll").write_bytes(b"\xff\xfe")
    (tmp_path / "b.ll").write_text("define void @f( {")
    (tmp_path / "c.bc").write_bytes(b"BC\xc0\xdejunk")
    (tmp_path / "d.ll").write_text("hello, nobody is here")
    seen = []
    found = measure_ir(
        [tmp_path, DATA, tmp_path / "missing.ll"], progress=lambda done, total: seen.append((done, total))
    )
    reasons = {Path(path).name: reason for path, reason in found.bad.items()}
    assert set(reasons) == {"a.ll", "b.ll", "c.bc", "d.ll", "missing.ll"} and len(found.modules) == 3
    assert "UTF-8" in reasons["a.ll"] and "line 1" in reasons["b.ll"] and "bitcode" in reasons["c.bc"]
    assert seen == [(number, 8) for number in range(1, 9)]
    assert measure_ir([tmp_path, DATA, tmp_path / "missing.ll"], processes=2) == found
    with pytest.raises(TextError, match="no files"):
        measure_ir([])


def test_parquet_has_a_row_a_function(tmp_path, monkeypatch):
    found = measure_ir([DATA])
    found.write_parquet(tmp_path / "x.parquet")
    rows = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    assert [row["hash"] for row in rows] == [function.hash for function in found.functions] and len(rows) == 8
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="ir"):
        found.write_parquet(tmp_path / "y.parquet")


def test_the_command(tmp_path):
    import typer

    from hf_tokext.cli.measure_ir import ir

    app = typer.Typer()
    app.command("ir")(ir)
    done = CliRunner().invoke(app, [str(DATA), "--output", str(tmp_path / "x.parquet")])
    assert done.exit_code == 0, done.output
    assert "C++" in done.output and (tmp_path / "x.parquet").is_file()


def test_languages():
    assert language_of('source_filename = "a.c"') == "C"
    assert language_of('!0 = !{!"rustc version 1.95.0"}') == "Rust"
    assert language_of("") == "?"
