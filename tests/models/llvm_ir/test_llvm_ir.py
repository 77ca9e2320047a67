import random
import re
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from hf_tokext.errors import TextError, VocabularyError
from hf_tokext.models.llvm_ir.domain import LLVMIRDomain
from hf_tokext.models.llvm_ir.tokenization_llvm_ir import LLVMIRTokenizer
from hf_tokext.vocabulary.ir_lexer import lexemes, matching

DATA = Path(__file__).parents[2] / "data"
MODULES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DATA.glob("*.ll"))}
TEXT, NORMAL = LLVMIRDomain(), LLVMIRDomain("normalised")
modules = pytest.mark.parametrize("name", sorted(MODULES))


def opcodes(text):
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    return [i.opcode for function in module.functions for block in function.blocks for i in block.instructions]


def test_there_are_three():
    assert sorted(MODULES) == ["calls", "loops", "strings"]


@modules
@pytest.mark.parametrize("domain", [TEXT, NORMAL], ids=lambda domain: domain.mode)
def test_what_is_written_verifies_with_the_same_instructions(name, domain):
    indices = domain.parse(MODULES[name])
    written = domain.write(indices)
    assert opcodes(written) == opcodes(MODULES[name]) != []
    assert domain.parse(written) == indices
    assert domain.grammar.complete(domain.grammar.read(indices))


@modules
def test_text_mode_keeps_every_lexeme(name):
    assert lexemes(TEXT.write(TEXT.parse(MODULES[name]))) == lexemes(MODULES[name])


@modules
def test_names_of_locals_make_no_difference_to_the_normal_form(name):
    module = llvm.parse_assembly(MODULES[name], llvm.create_context())
    same = str(module)
    for function in module.functions:
        for number, argument in enumerate(function.arguments):
            argument.name = f"an argument {number}"
        for number, block in enumerate(function.blocks):
            block.name = f"block.{number}"
            for place, instruction in enumerate(block.instructions):
                if str(instruction.type) != "void":
                    instruction.name = f"v{number}.{place}"
    assert str(module) != same
    assert NORMAL.parse(str(module)) == NORMAL.parse(same)


def test_debug_information_and_attachments_make_no_difference():
    plain = "define void @f(ptr %0) {\n  %2 = load i8, ptr %0\n  ret void\n}\n"
    noisy = """source_filename = "x.c"
    define void @f(ptr %p) !dbg !1 { start: #dbg_value(ptr %p, !3, !DIExpression(), !4)
      tail call void @llvm.dbg.value(metadata ptr %p, metadata !3, metadata !DIExpression()) #4, !dbg !4
      %v = load i8, ptr %p, !tbaa !2, !note !{i32 1}
      ret void, !dbg !DILocation(line: 3, scope: !1) }
    !1 = distinct !DISubprogram(name: "f")
    declare void @llvm.dbg.value(metadata, metadata, metadata)"""
    assert lexemes(NORMAL.write(NORMAL.parse(noisy))) == lexemes(plain)


def test_metadata_that_is_an_operand_is_kept():
    text = (
        "define void @f() { call void @g(metadata !7) ret void } declare void @g(metadata) !7 = !{!9} !8 = !{} !9 = !{}"
    )
    assert NORMAL.write(NORMAL.parse(text)).endswith("!0 = !{ !1 }\n!1 = !{ }\n")


@pytest.mark.parametrize(
    "lexeme",
    ["%0", "%255", "%256", "%007", "%18446744073709551616"]
    + ["%a", "%-b", '%"a \\22 b"', '%""', "@7", "@f", '@"a b"', "$c", '$"c d"', "!5", "!llvm.foo", "!foo\\20bar", "#12"]
    + ["#dbg_value", "#other", "^3", "0", "-1", "1" * 61, "1.0", "1.", "-2.5e-10", "1.0E+5", "0." + "123" * 9, "0x3FF0"]
    + [
        "0xK3FFF",
        "0xLabc",
        "i32",
        "i33",
        "bb:",
        "12:",
        "-x:",
        "0foo:",
        '"q r":',
        '"str"',
        '""',
        'c"a\\00"',
        'c""',
        "...",
    ],
)
def test_any_lexeme_comes_back(lexeme):
    text = f"{lexeme} , {lexeme} ,"
    assert lexemes(text) == [lexeme, ",", lexeme, ","]
    indices = TEXT.parse(text)
    assert lexemes(TEXT.write(indices)) == [lexeme, ",", lexeme, ","]
    assert TEXT.grammar.complete(TEXT.grammar.read(indices))


def test_a_name_is_spelt_once_while_it_is_among_the_last_256():
    first = TEXT.parse(" ".join(f"@name{number}" for number in range(256)))
    again = TEXT.parse(" ".join(f"@name{number}" for number in range(256)) + " @name0 @new @name0")
    assert [TEXT.tokens[index] for index in again[len(first) - 1 :][:2]] == ["@&0", ".@name"]
    assert lexemes(TEXT.write(again))[-3:] == ["@name0", "@new", "@name0"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("define void @f() {\n  ret void\n", "line 1 .*never closed"),
        ("ret\n\n)", "line 3 .*closes nothing"),
        ("ret ?", "no lexeme"),
        ('ret "', "no lexeme"),
        ("(" * 100_000, "256 brackets"),
        ("\ud800", "surrogates"),
    ],
)
def test_what_is_no_ir_is_refused_with_the_line(text, reason):
    with pytest.raises(TextError, match=reason):
        TEXT.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("%t = type i32 define void @f(i32 %t) { ret void }", "cannot be told apart"),
        ("define void @f() { br label %9 }", "do all blocks have labels"),
        ("define void @f()", "no body"),
        ("define void @f(i32 %a, i32 %a) { ret void }", "twice"),
        ("define { }", "without name"),
    ],
)
def test_what_has_no_normal_form_is_refused(text, reason):
    with pytest.raises(TextError, match=reason):
        NORMAL.parse(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-1, len(TEXT.tokens) + 1), max_size=120))
def test_whatever_is_written_is_read_and_balanced(indices):
    written = TEXT.write([index for index in indices if index >= 0])
    found = lexemes(written)
    matching(found)
    assert lexemes(TEXT.write(TEXT.parse(written))) == found


@settings(max_examples=100, deadline=None)
@given(st.integers(), st.integers(1, 80))
def test_walks_of_the_grammar_are_documents_and_close_in_time(seed, room):
    draw, grammar = random.Random(seed), TEXT.grammar
    state, indices = grammar.start(), []
    for left in range(max(room, 2), 0, -1):
        choices = grammar.within(state, left).nonzero()[0]
        index = int(draw.choice(choices))
        before = grammar.distance(state)
        state = grammar.advance(state, index)
        assert grammar.distance(state) <= before + grammar.longest_step
        indices.append(index)
        if grammar.complete(state):
            break
    assert grammar.complete(state)
    found = lexemes(TEXT.write(indices))
    matching(found)
    assert lexemes(TEXT.write(TEXT.parse(TEXT.write(indices)))) == found


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_mutated_modules_are_read_or_refused(data):
    text = MODULES[data.draw(st.sampled_from(sorted(MODULES)))]
    start = data.draw(st.integers(0, len(text)))
    mutant = text[:start] + data.draw(st.text(max_size=6)) + text[start + data.draw(st.integers(0, 40)) :]
    for domain in (TEXT, NORMAL):
        try:
            indices = domain.parse(mutant)
        except TextError:
            continue
        assert domain.parse(domain.write(indices)) is not None
        assert domain is NORMAL or lexemes(domain.write(indices)) == lexemes(mutant)


def test_the_tokenizer_is_saved_and_loaded(tmp_path):
    tokenizer = LLVMIRTokenizer(domain_settings={"mode": "normalised"})
    tokenizer.save_pretrained(tmp_path)
    again = LLVMIRTokenizer.from_pretrained(tmp_path)
    for text in MODULES.values():
        assert again(text).input_ids == tokenizer(text).input_ids == NORMAL.parse(text)
        assert again.decode(again(text).input_ids) == NORMAL.write(NORMAL.parse(text))
    assert again.domain.mode == "normalised"


def test_auto_tokenizer_finds_it(tmp_path):
    import hf_tokext.models.llvm_ir  # noqa: F401

    LLVMIRTokenizer().save_pretrained(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is LLVMIRTokenizer


def test_opcodes_and_types_are_described():
    assert TEXT.descriptions["getelementptr"] == "address of an element"
    assert TEXT.descriptions["i32"] == "32-bit integer"
    assert set(TEXT.descriptions) <= set(TEXT.tokens)
    assert not [text for text in TEXT.descriptions.values() if re.search(r"[|<>]", text)]
    with pytest.raises(VocabularyError, match="neither"):
        LLVMIRDomain("other")
