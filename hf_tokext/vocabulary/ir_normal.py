"""A normal form of LLVM modules: renaming locals, debug information and metadata make no difference to it."""

import re
from collections.abc import Iterable
from hashlib import blake2b

from hf_tokext.errors import TextError
from hf_tokext.vocabulary.ir_lexer import CLOSERS, OPENERS, matching
from hf_tokext.vocabulary.ir_parts import TAIL, USES, WITHOUT_RESULT, Function, parts


def normalised(found: list[str]) -> list[str]:
    """Give the normal form of a module.

    The arguments, blocks and values of each function are numbered as LLVM numbers what has no name. Debug information,
    attachments of metadata, named metadata, the name of the source, the order of uses and the summary of a module are left
    out; metadata that an instruction has among its operands is kept, renumbered.

    Args:
        found: lexemes of the module.

    Returns:
        Lexemes of its normal form.

    Raises:
        TextError: a local has the name of a type, or is used and not defined (as where a block has no label), or has no
            number in the text though LLVM gives it one, or a function has no name or body.
    """
    cut = parts(found)
    types = type_names(cut)
    kept: list[list[str]] = []
    metadata: dict[str, list[str]] = {}
    numbers: dict[str, dict[str, str]] = {}
    for part in cut:
        if part[0][0] == "!" and part[0][1:].isdecimal():
            metadata[part[0]] = part[2:]
        elif not (part[0][0] in "!^" and part[1:2] == ["="]) and part[0] != "source_filename" and part[0] not in USES:
            part = without_metadata(part)
            if part[0] == "define":
                function, found_numbers = renamed(part, types)
                numbers[function[Function.of(function).name]] = found_numbers
                kept.append(function)
            elif part[0] == "declare":
                if not Function.of(part).found[Function.of(part).name].startswith("@llvm.dbg."):
                    kept.append(_unnamed(part, types))
            else:
                kept.append(part)
    for part in kept:
        _block_addresses(part, numbers)
    return _with_metadata([lexeme for part in kept for lexeme in part], metadata)


def type_names(cut: Iterable[list[str]]) -> set[str]:
    """Find the types that have names.

    Args:
        cut: parts of a module.

    Returns:
        Their names, as `_plain` spells them.
    """
    return {_plain(part[0]) for part in cut if part[1:3] == ["=", "type"]}


def structural_hash(part: list[str], types: set[str]) -> str:
    """Give a hash of what a function does: equal for functions that differ in names, metadata and attribute groups alone.

    Args:
        part: lexemes of a function's definition.
        types: names of types in its module.

    Returns:
        32 hexadecimal digits.

    Raises:
        TextError: as for `normalised`.
    """
    function, _ = renamed(without_metadata(part), types)
    masked = (lexeme[0] if lexeme[0] in "@$!" else lexeme for lexeme in function if not lexeme.startswith("#"))
    return blake2b("\n".join(masked).encode("utf-8", "replace"), digest_size=16).hexdigest()


def without_metadata(found: list[str]) -> list[str]:
    """Leave out attachments of metadata, the calls and records of debug information, and the order of uses.

    Args:
        found: lexemes of a part of a module that is no metadata.

    Returns:
        The lexemes that are left.
    """
    kept: list[str] = []
    pairs, place = matching(found), 0
    while place < len(found):
        lexeme, behind = found[place], found[place + 1] if place + 1 < len(found) else ""
        if lexeme.startswith("#dbg_") and behind == "(":
            place = pairs[place + 1] + 1
        elif lexeme in USES:
            while place < len(found) and found[place : place + 2] != [",", "{"]:
                place += 1
            place = pairs.get(place + 1, place) + 1
        elif lexeme.startswith("@llvm.dbg.") and behind == "(" and kept[-2:] == ["call", "void"]:
            del kept[-3 if kept[-3:-2] and kept[-3] in TAIL else -2 :]
            place = pairs[place + 1] + 1
            while place < len(found) and found[place][0] == "#" and not found[place].startswith("#dbg_"):
                place += 1
        elif (
            lexeme[0] == "!"
            and lexeme[1:]
            and not lexeme[1:].isdecimal()
            and behind[:1] == "!"
            and found[place - 1] != "metadata"
        ):
            if kept and kept[-1] == ",":
                kept.pop()
            place += 1
            if found[place] == "!" or found[place + 1 : place + 2] == ["("]:  # a tuple or node on the spot
                place += 1
            place = pairs.get(place, place) + 1
        else:
            kept.append(lexeme)
            place += 1
    return kept


def renamed(found: list[str], types: set[str]) -> tuple[list[str], dict[str, str]]:
    """Number the locals of a function as they are defined.

    Args:
        found: lexemes of the definition.
        types: names of types.

    Returns:
        The lexemes, and the new names by the old ones.

    Raises:
        TextError: as for `normalised`.
    """
    function = Function.of(found)
    names: dict[str, str] = {}
    unnamed = 0  # what LLVM numbers next

    def define(name: str | None) -> str:
        nonlocal unnamed
        new = f"%{len(names)}"
        if name is None or name[1:].isdecimal():
            name = f"%{unnamed}" if name is None else f"%{name[1:].lstrip('0') or '0'}"
            if name != f"%{unnamed}":
                raise TextError(
                    f"function {found[function.name]}: {name[:20]} is defined where LLVM counts %{unnamed}; let it print the "
                    "module, with all numbers (llvm-as, then llvm-dis)"
                )
            unnamed += 1
        if name in types or name in names:
            why = "is a type too, and they cannot be told apart" if name in types else "is defined twice"
            raise TextError(f"function {found[function.name]}: {name} {why}")
        names[name] = new
        return new

    if function.hidden() is not None:
        raise TextError(
            f"function {found[function.name]}: the result of a call has no number; let LLVM print the module, with all "
            "numbers (llvm-as, then llvm-dis)"
        )
    start = [*found[: function.name + 2]]
    for number, parameter in enumerate(function.parameters()):
        start += [","] if number else []
        if parameter == ["..."]:
            start += parameter
            continue
        named = len(parameter) > 1 and parameter[-1][0] == "%"
        new = define(_plain(parameter[-1]) if named else None)
        start += [*(parameter[:-1] if named else parameter), new]
    header = found[function.pairs[function.name + 1] : function.body + 1]
    body, first = [], function.body + 1
    entry = _label(found[first])
    define(entry)
    first += entry is not None
    for place in function.statements():
        if place < first:
            continue
        if _label(found[place]) is not None:
            define(_label(found[place]))
        elif found[place][0] == "%" and found[place + 1] == "=":
            define(_plain(found[place]))
    open_ = ["{"]
    for place in range(first, len(found)):
        lexeme = found[place]
        label = _label(lexeme)
        if label is not None and label in names:
            lexeme = names[label][1:] + ":"
        elif lexeme[0] == "%" and found[place - 4] != "blockaddress":
            name = _plain(lexeme)
            numbered = name not in types and name[1:].isdecimal()
            if name not in names and (numbered or _is_no_type(found, place, open_)):
                raise TextError(
                    f"function {found[function.name]}: {name[:40]} is used and not defined"
                    f"{'; do all blocks have labels?' if numbered else ', as a value or a block'}"
                )
            lexeme = names.get(name, lexeme)
        elif lexeme in OPENERS:
            open_.append(lexeme)
        elif lexeme in CLOSERS:
            open_.pop()
        body.append(lexeme)
    return start + header + body, names


def _is_no_type(found: list[str], place: int, open_: list[str]) -> bool:
    """Whether a local must be a value or a block where it stands; types are other names, though spelt alike.

    Args:
        found: lexemes of a function.
        place: of the local.
        open_: brackets around it, from that of the body on.

    Returns:
        False where it may be a type.
    """
    before, behind = found[place - 1], found[place + 1]
    if before in _BEFORE_VALUES or before[0] == "%" or _SIZED(before) or found[place - 4] == "addrspace":
        return True
    if open_[-1] == "(":  # an argument behind its attributes; a type stands alone there
        return behind in (",", ")") and before not in ("(", ",", "to")
    if open_[-1] == "[":  # of phi
        return (before, behind) in (("[", ","), (",", "]"))
    # the second of two operands that share their type
    ends = behind in ",}" or behind in WITHOUT_RESULT | TAIL or _label(behind) or found[place + 2 : place + 3] == ["="]
    return len(open_) == 1 and before == "," and found[place - 4] != "va_arg" and bool(ends)


_BEFORE_VALUES = frozenset(("void", "half", "bfloat", "float", "double", "fp128", "x86_fp80", "ppc_fp128", "ptr", *"]}>*",
                            "label", "token", "within", "from"))  # fmt: skip
_SIZED = re.compile(r"i[0-9]++").fullmatch


def _plain(local: str) -> str:
    """A local, quoted only where it must be, its number without zeros in front."""
    inner = local[2:-1]
    if local[1:].isdecimal():
        return f"%{local[1:].lstrip('0') or '0'}"
    plain = local[1:2] == '"' and inner and not inner[0].isdigit() and set(inner) <= _PLAIN
    return f"%{inner}" if plain else local


_PLAIN = frozenset("-.$_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _label(lexeme: str) -> str | None:
    """The block that a label names."""
    return _plain(f"%{lexeme[:-1]}") if lexeme[-1] == ":" and len(lexeme) > 1 else None


def _unnamed(found: list[str], types: set[str]) -> list[str]:
    """A declaration without the names of its parameters."""
    function = Function.of(found)
    start = found[: function.name + 2]
    for number, parameter in enumerate(function.parameters()):
        start += [","] if number else []
        start += parameter[:-1] if len(parameter) > 1 and parameter[-1][0] == "%" else parameter
    return start + found[function.pairs[function.name + 1] :]


def _block_addresses(part: list[str], numbers: dict[str, dict[str, str]]) -> None:
    """Rename blocks whose addresses are taken."""
    for place, lexeme in enumerate(part):
        if lexeme == "blockaddress" and part[place + 4 : place + 5]:
            known = numbers.get(part[place + 2], {})
            part[place + 4] = known.get(_plain(part[place + 4]), part[place + 4])


def _with_metadata(found: list[str], metadata: dict[str, list[str]]) -> list[str]:
    """Renumber the metadata that is used, and put it at the end."""
    order: dict[str, str] = {}

    def renumbered(some: list[str]) -> list[str]:
        result = []
        for lexeme in some:
            if lexeme in metadata:
                lexeme = order.setdefault(lexeme, f"!{len(order)}")
            result.append(lexeme)
        return result

    result, done = renumbered(found), 0
    while done < len(order):
        old = list(order)[done]
        result += [order[old], "=", *renumbered(metadata[old])]
        done += 1
    return result
