"""Hold the words that `LLVMIRDomain` has tokens for to what LLVM itself knows.

    python scripts/check_ir_words.py

Facts come from Debian's llvm-19-dev (opcodes, attributes, kinds of metadata, the words of its Vim syntax, the strings of its
parser) and llvm-19-doc (the language reference), fetched once; attributes are asked of llvmlite's LLVM, too. Prints what LLVM knows and has no token,
which is spelt then and no error, and what has a token and is known to none of them: words that are newer or older than
LLVM 19. The exit code is 1 where an opcode, an attribute or a kind of metadata has no token.
"""

import re
import sys

import llvmlite.binding as llvm
from debian import debian

from hf_tokext.models.llvm_ir import words


def accepted(attribute: str) -> bool:
    """Whether llvmlite's LLVM knows an attribute, with or without something behind it."""
    for behind in ("", "(1)", "(i32)", "(none)", "(read)", "(nan)", '("alloc")', "(i32 0, 1)", "=1"):
        try:
            llvm.parse_assembly(f"declare void @f(ptr {attribute}{behind})\n", llvm.create_context())
            return True
        except RuntimeError as error:
            if "not apply to parameters" in str(error) or "does not apply" in str(error):
                return True
        try:
            llvm.parse_assembly(f"attributes #0 = {{ {attribute}{behind} }}\n", llvm.create_context())
            return True
        except RuntimeError:
            pass
    return False


def main() -> None:
    """See above."""
    folder = debian("llvm-19-dev")
    ir = next(folder.rglob("FixedMetadataKinds.def")).parent
    syntax = next(folder.rglob("llvm-19.vim")).parent.parent / "syntax" / "llvm-19.vim"
    lines = syntax.read_text().split('" Obsolete')[0].replace("\n      \\", " ")
    vim = {word for line in re.findall(r"syn keyword llvm\w+(.*)", lines) for word in line.split()}
    spelling = {"atomiccmpxchg": "cmpxchg", "vaarg": "va_arg"}
    opcodes = re.findall(r"HANDLE_\w+_INST *\( *\d+ *, *(\w+)", (ir / "Instruction.def").read_text())
    opcodes = {spelling.get(name.lower(), name.lower()) for name in opcodes if not name.startswith("UserOp")}
    attributes = set(re.findall(r"ATTRIBUTE_ENUM\(\w+,\s*([a-z_]\w*)\)", (ir / "Attributes.inc").read_text()))
    kinds = set(re.findall(r'LLVM_FIXED_MD_KIND\(\w+, *"([^"]+)"', (ir / "FixedMetadataKinds.def").read_text()))
    nodes = set(re.findall(r"HANDLE_SPECIALIZED_MDNODE_LEAF\w*\((\w*[a-z]\w*)\)", (ir / "Metadata.def").read_text()))
    reference = next(debian("llvm-19-doc").rglob("LangRef.rst.txt")).read_text()

    parser = next(folder.rglob("libLLVMAsmParser.a")).read_bytes()
    strings = {word.decode() for word in re.findall(rb"[A-Za-z_][\w.]{3,}", parser)}

    have = set(words.lexemes_with_tokens())
    missing = {
        "opcodes": opcodes - set(words.OPCODES),
        "attributes": attributes - have,
        "kinds of metadata": {kind for kind in kinds if f"!{kind}" not in have},
        "nodes of metadata": {node for node in nodes if f"!{node}" not in have},
    }
    for what, names in missing.items():
        print(f"{what} that have no token: {sorted(names) or 'none'}")
    print(f"words of the Vim syntax that have none: {sorted(vim - have)}")
    known = vim | strings | attributes | opcodes | kinds | nodes | set(re.findall(r"[A-Za-z_][\w.]*", reference))
    plain = [word for word in have if re.fullmatch(r"[A-Za-z_][\w.]*", word) and word not in known]
    plain = [word for word in plain if not re.fullmatch(r"i[0-9]+", word)]
    newer = sorted(word for word in plain if accepted(word))
    version = ".".join(map(str, llvm.llvm_version_info))
    print(f"words that LLVM 19's files do not have: attributes of LLVM {version} {newer}")
    print(f"  others {sorted(set(plain) - set(newer))}")
    print(f"fields and metadata that they do not have: {sorted({*words.FIELDS, *words.METADATA} - known)}")
    sys.exit(any(missing.values()))


if __name__ == "__main__":
    main()
