"""Functions of LLVM modules as modules of their own: with the types, globals and declarations that they need, and no more."""

from collections.abc import Iterator

from hf_tokext.errors import TextError
from hf_tokext.models.llvm_ir.writing import lay_out
from hf_tokext.vocabulary.ir_lexer import OPENERS, lexemes, matching
from hf_tokext.vocabulary.ir_normal import normalised
from hf_tokext.vocabulary.ir_parts import Function, parts

LINKAGE = {
    "private",
    "internal",
    "available_externally",
    "linkonce",
    "linkonce_odr",
    "weak",
    "weak_odr",
    "external",
    "extern_weak",
}


def functions(text: str) -> Iterator[str]:
    """The functions of a module, each with what it needs before it.

    Globals and types are named anew in the order of their use, `@g0` and `%T0` on, so that a small model need not spell.
    Names of intrinsics are kept. Of globals only the type is kept, of other functions the declaration; groups of attributes are left out.

    Yields:
        IR in normal form.

    Raises:
        TextError: the module has no normal form.
    """
    cut = parts(normalised(lexemes(text)))
    known = {part[0]: part for part in cut if part[0][0] in "@%" and part[1:2] == ["="]}
    known |= {_name(part): part for part in cut if part[0] in ("define", "declare")}
    for part in cut:
        if part[0] != "define":
            continue
        function = [lexeme for lexeme in part if lexeme[0] != "#" and lexeme not in LINKAGE]
        names: dict[str, str] = {_name(part): "@g0"}
        needed: list[list[str]] = []
        seen = {_name(part)}
        _collect(function, known, seen, needed)
        for some in [*needed, function]:
            for lexeme in some:
                if lexeme in known and lexeme not in names and not lexeme.startswith("@llvm."):
                    sort = "@g" if lexeme[0] == "@" else "%T"
                    names[lexeme] = f"{sort}{sum(name[0] == sort[0] for name in names.values())}"
        yield lay_out([names.get(lexeme, lexeme) for some in [*needed, function] for lexeme in some])


def _name(part: list[str]) -> str:
    function = Function.of(part)
    return function.found[function.name]


def _collect(part: list[str], known: dict[str, list[str]], seen: set[str], needed: list[list[str]]) -> None:
    """Add what a part needs, what that needs before it."""
    for lexeme in part:
        if lexeme in known and lexeme not in seen:
            seen.add(lexeme)
            found = _declared(known[lexeme])
            _collect(found, known, seen, needed)
            needed.append(found)


def _declared(part: list[str]) -> list[str]:
    """What others must know of a part: a type whole, of a global its type, of a function its declaration."""
    if part[0] in ("define", "declare"):
        function = Function.of(part)
        start = ["declare", *(each for each in part[1 : function.name + 2] if each not in LINKAGE)]
        for number, parameter in enumerate(function.parameters()):
            start += [","] if number else []
            start += parameter[:-1] if part[0] == "define" and parameter != ["..."] else parameter
        return [*start, ")"]
    if part[2] == "type":
        return part
    kind = next((place for place, each in enumerate(part) if each in ("global", "constant")), None)
    if kind is None:
        raise TextError(f"{part[0]} is an alias, whose type is not known")
    end = matching(part)[kind + 1] + 1 if part[kind + 1] in OPENERS else kind + 2
    return [part[0], "=", "external", *part[kind:end]]
