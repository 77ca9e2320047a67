"""What LLVM modules consist of, by language and function, as ComPile reports it; and which functions are duplicates.

Source: ComPile (Grossman et al., arXiv 2309.15432), which strips debug information before it counts, and removes duplicates by
LLVM's structural hash; here the hash is one of the normal form of a function, so that text alone suffices.
"""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hf_tokext.errors import MissingExtraError, TextError
from hf_tokext.measure.ir_files import ir_files, read_ir
from hf_tokext.vocabulary.ir_lexer import LexemeError, lexemes
from hf_tokext.vocabulary.ir_normal import structural_hash, type_names, without_metadata
from hf_tokext.vocabulary.ir_parts import MODULE, Function, parts

_LANGUAGES = (  # by what the module says of itself
    ("C++", re.compile(r'DW_LANG_C_plus_plus|^source_filename = "[^"]*\.(?:cc|cpp|cxx|C)"', re.MULTILINE)),
    ("C", re.compile(r'DW_LANG_C(?:\d\d|89)?\b|^source_filename = "[^"]*\.c"', re.MULTILINE)),
    ("Rust", re.compile(r'DW_LANG_Rust|!"rustc version|@rust_eh_personality', re.MULTILINE)),
    ("Swift", re.compile(r"DW_LANG_Swift|swiftcc|@swift_", re.MULTILINE)),
    ("Julia", re.compile(r"DW_LANG_Julia|@jl_|@julia_|@julia\.", re.MULTILINE)),
)


@dataclass(frozen=True)
class IRFunction:
    """A function of a module.

    Attributes:
        file: where it is.
        language: what it was written in, "?" where the module does not say.
        name: its name.
        instructions: how many it has.
        tokens: its lexemes, metadata and debug information left out.
        bytes: of these lexemes, and of one blank behind each.
        hash: equal for functions that differ in names, metadata and attribute groups alone.
        duplicate: whether one before it has the same hash.
    """

    file: str
    language: str
    name: str
    instructions: int
    tokens: int
    bytes: int
    hash: str
    duplicate: bool = False


@dataclass(frozen=True)
class IRModule:
    """A module.

    Attributes:
        file: where it is.
        language: what it was written in.
        functions: how many it defines.
        instructions: of them.
        tokens: its lexemes, metadata and debug information left out.
        bytes: of these lexemes, and of one blank behind each.
        duplicate: whether one before it has the same functions in the same order, and there are any.
    """

    file: str
    language: str
    functions: int
    instructions: int
    tokens: int
    bytes: int
    duplicate: bool = False


@dataclass(frozen=True)
class IRMeasured:
    """What was found.

    Attributes:
        modules: of the files, in their order.
        functions: of the modules, in their order.
        bad: files that could not be read, and why.
    """

    modules: list[IRModule]
    functions: list[IRFunction]
    bad: dict[str, str]

    def by_language(self) -> list[dict[str, Any]]:
        """Sums of each language, and of all where there are several.

        Returns:
            Of each: language, modules, functions, instructions, tokens, bytes, tokens_per_instruction, bytes_per_token,
            duplicate_modules, duplicate_functions.
        """
        found = []
        languages = sorted({module.language for module in self.modules})
        for language in [*languages, *(["all"] if len(languages) > 1 else [])]:
            modules = [module for module in self.modules if language in ("all", module.language)]
            functions = [function for function in self.functions if language in ("all", function.language)]
            instructions, tokens = (
                sum(getattr(module, what) for module in modules) for what in ("instructions", "tokens")
            )
            size = sum(module.bytes for module in modules)
            found.append(
                {
                    "language": language, "modules": len(modules), "functions": len(functions),
                    "instructions": instructions, "tokens": tokens, "bytes": size,
                    "tokens_per_instruction": tokens / instructions if instructions else None,
                    "bytes_per_token": size / tokens if tokens else None,
                    "duplicate_modules": sum(module.duplicate for module in modules),
                    "duplicate_functions": sum(function.duplicate for function in functions),
                }
            )  # fmt: skip
        return found

    def write_parquet(self, path: str | Path) -> None:
        """Write one row a function.

        Args:
            path: the file.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtraError("pyarrow", "ir", "writing parquet") from error
        kinds = {
            "instructions": pyarrow.int64(),
            "tokens": pyarrow.int64(),
            "bytes": pyarrow.int64(),
            "duplicate": pyarrow.bool_(),
        }
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in IRFunction.__dataclass_fields__])
        parquet.write_table(pyarrow.Table.from_pylist([asdict(each) for each in self.functions], schema), path)


def measure_ir(
    paths: Sequence[str | Path], processes: int = 1, progress: Callable[[int, int], None] | None = None
) -> IRMeasured:
    """Measure modules.

    Args:
        paths: files of IR, bitcode (which needs llvmlite) or text, and folders, of which all .ll and .bc are taken.
        processes: how many work at once.
        progress: called with the files that are done, and all.

    Returns:
        What they consist of. A file that cannot be read is listed, with the reason.

    Raises:
        TextError: there are no files.
    """
    files = ir_files(paths)
    if not files:
        raise TextError("there are no files of LLVM IR (.ll or .bc) to measure")
    modules: list[IRModule] = []
    functions: list[IRFunction] = []
    bad: dict[str, str] = {}
    known: set[object] = set()
    seen: set[tuple[str, ...]] = set()
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            results: Any = pool.map(_measure_file, files, chunksize=4)
            found = list(_counted(results, len(files), progress))
    else:
        found = list(_counted(map(_measure_file, files), len(files), progress))
    for path, result in zip(files, found, strict=True):
        if isinstance(result, str):
            bad[str(path)] = result
            continue
        module, own = result
        hashes = tuple(function.hash for function in own)
        modules.append(IRModule(**(asdict(module) | {"duplicate": bool(hashes) and hashes in seen})))
        seen.add(hashes)
        for function in own:
            functions.append(IRFunction(**(asdict(function) | {"duplicate": function.hash in known})))
            known.add(function.hash)
    return IRMeasured(modules, functions, bad)


def language_of(text: str) -> str:
    """Say what a module was written in.

    Args:
        text: the module.

    Returns:
        Such as "C", or "?" where it does not say.
    """
    return next((name for name, pattern in _LANGUAGES if pattern.search(text)), "?")


def _counted(results: Any, total: int, progress: Callable[[int, int], None] | None) -> Any:
    for done, result in enumerate(results, 1):
        if progress:
            progress(done, total)
        yield result


def _measure_file(path: Path) -> tuple[IRModule, list[IRFunction]] | str:
    """A module and its functions, or why there are none."""
    try:
        text = read_ir(path)
        found = lexemes(text)
        try:
            cut = parts(found)
        except LexemeError as error:
            raise error.at_line(text) from None
        types, language = type_names(cut), language_of(text)
        make = partial(IRFunction, str(path), language)
        functions, tokens, size = [], 0, 0
        for part in cut:
            if part[0][0] == "!" and part[1:2] == ["="]:
                continue
            kept = without_metadata(part)
            length = sum(len(lexeme.encode()) + 1 for lexeme in kept)
            tokens, size = tokens + len(kept), size + length
            if kept[:1] == ["define"]:
                function = Function.of(kept)
                digest = structural_hash(kept, types)
                functions.append(make(kept[function.name], function.instructions(), len(kept), length, digest))
        if not any(part[0] in MODULE or part[1:2] == ["="] for part in cut):
            raise TextError("there is nothing of a module in it")
        total = sum(function.instructions for function in functions)
        return IRModule(str(path), language, len(functions), total, tokens, size), functions
    except (TextError, MissingExtraError) as error:
        return str(error)
