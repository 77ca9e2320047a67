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
from hf_tokext.vocabulary.grammar import Grammar
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


def test_orders_of_uses_and_summaries_make_no_difference():
    plain = "define i32 @f(i32 %0) {\n  %2 = add i32 %0, %0\n  ret i32 %2\n}\n"
    noisy = """^0 = module: (path: "x", hash: (1, 2, 3, 4, 5))
    define i32 @f(i32 %0) { %2 = add i32 %0, %000 uselistorder i32 %0, { 1, 0 } ret i32 %"x" }
    uselistorder ptr @f, { 1, 0 } uselistorder_bb @f, %1, { 1, 0 }
    ^1 = gv: (name: "f")""".replace('%"x"', "%02")
    assert NORMAL.write(NORMAL.parse(noisy)) == plain


def test_words_of_llvm_22_are_its_own_and_have_tokens():
    text = """declare void @f(ptr captures(address_is_null, ret: address, read_provenance)) memory(errnomem: write)
    define i1 @g(ptr %p, i32 %v, float %x) { %a = atomicrmw usub_cond ptr %p, i32 %v seq_cst
      %b = atomicrmw fmaximum ptr %p, float %x seq_cst %c = ptrtoaddr ptr %p to i64
      %d = icmp samesign ult i32 %a, %v ret i1 %d }"""
    opcodes(text)
    spelt = {TEXT.index(".word"), TEXT.index(".name:")}
    assert not spelt & set(TEXT.parse(text))


def test_tokens_near_the_end_are_those_that_a_plain_search_finds():
    grammar, draw = TEXT.grammar, random.Random(0)
    for _ in range(40):
        state = grammar.start()
        for _ in range(draw.randrange(40)):
            following = grammar.allowed(state).copy()
            following[1] = False
            state = grammar.advance(state, int(draw.choice(following.nonzero()[0])))
        room = max(grammar.distance(state) + draw.randrange(-1, 6), 1)
        assert (grammar.within(state, room) == Grammar.within(grammar, state, room)).all()


def test_a_string_of_a_megabyte_comes_back():
    text = '@x = constant [1000000 x i8] c"' + "\\00ab" * 200_000 + '"'
    assert lexemes(TEXT.write(TEXT.parse(text))) == lexemes(text)


def test_what_is_left_out_when_writing_is_what_the_grammar_does_not_allow():
    draw = random.Random(1)
    for _ in range(60):
        indices = [draw.randrange(-3, len(TEXT.tokens) + 3) for _ in range(60)]
        state, kept = TEXT.grammar.advance(TEXT.grammar.start(), 0), []
        for index in indices:
            if index > 1 and index < TEXT.grammar.size and TEXT.grammar.allowed(state)[index]:
                state = TEXT.grammar.advance(state, index)
                kept.append(index)
        assert TEXT.write(kept) == TEXT.write(indices)


def test_metadata_that_is_an_operand_is_kept():
    text = (
        "define void @f() { call void @g(metadata !7) ret void } declare void @g(metadata) !7 = !{!9} !8 = !{} !9 = !{}"
    )
    assert NORMAL.write(NORMAL.parse(text)).endswith("!0 = !{ !1 }\n!1 = !{ }\n")


@pytest.mark.parametrize(
    "lexeme",
    ["%0", "%255", "%256", "%00256", "%16383", "%16384", "300:", "%007", "%18446744073709551616"]
    + ["%a", "%-b", '%"a \\22 b"', '%""', "@7", "@f", '@"a b"', "$c", '$"c d"', "!5", "!llvm.foo", "!foo\\20bar", "#12"]
    + [
        "1.5:",
        "0xAB:",
        "-1:",
        "+1.0",
        "+12.50e+3",
        "-12.",
        "$c:",
        "i32:",
        "0xM1",
        "0xR3F80",
        "0xH3C00",
        'c"\\22;{"',
        "2" * 5000,
    ]
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


def test_a_numbered_local_is_one_token_or_two():
    assert [len(TEXT.parse(f"%{number}")) - 2 for number in (0, 255, 256, 16_383)] == [1, 1, 2, 2]
    page = TEXT.index("%+256")
    assert TEXT.write([0, page, 1]) == TEXT.write([0, TEXT.index(".label"), page, 1]) == ""


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
        ("ret + 1", "no lexeme"),
        ("ret 1.2.3", "no lexeme"),
        ("ret\n/* never closed", "line 2"),
        ("ret\u00a0void", "no lexeme"),
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
        ("define i32 @f() { call i32 @f() ret i32 0 }", "no number"),
        ("define i32 @f() { add i32 1, 2 %2 = add i32 1, 2 ret i32 %2 }", "LLVM counts %1"),
        (f"define i32 @f(i32 %{'9' * 5000}) {{ ret i32 1 }}", "LLVM counts %0"),
    ],
)
def test_what_has_no_normal_form_is_refused(text, reason):
    with pytest.raises(TextError, match=reason):
        NORMAL.parse(text)


TYPES_TOO = """
%x = type {{ i32, ptr }}
define i32 @f(ptr %p, i32 %n, ptr %list, %x %whole) {{
entry:
  %made = alloca %x
  %place = getelementptr inbounds %x, ptr %p, i32 0, i32 1
  %loaded = load %x, ptr %p
  %part = extractvalue %x %loaded, 0
  %next = va_arg ptr %list, %x
  %both = insertvalue {{ i32, %x }} poison, %x %next, 1
  store %x %whole, ptr %p, align 8
  %called = call %x @g(ptr sret(%x) align 8 %made, i32 noundef {argument})
  %sum = add nsw i32 %part, {second}
  %same = icmp eq ptr %p, {compared}
  br i1 {condition}, label %more, label {target}
more:
  %phi = phi i32 [ %sum, %entry ], [ {ours}, {theirs} ]
  call void {function}(i32 %phi)
  ret i32 %phi
}}
declare %x @g(ptr, i32)
"""
OPERANDS = {
    "argument": "%n", "second": "%n", "compared": "%p", "condition": "%same", "target": "%more", "ours": "%sum",
    "theirs": "%more", "function": "%p",
}  # fmt: skip


@pytest.mark.parametrize("where", OPERANDS)
@pytest.mark.parametrize("name", ["%x", "%nowhere"])
def test_a_local_that_nothing_defines_is_refused_though_a_type_has_its_name(where, name):
    """Types and values are other names; LLVM refuses it, too."""
    good, bad = (TYPES_TOO.format(**OPERANDS | some) for some in ({}, {where: name}))
    assert NORMAL.parse(good)
    with pytest.raises(RuntimeError, match="undefined|invalid|basic block"):
        llvm.parse_assembly(bad, llvm.create_context())
    with pytest.raises(TextError, match=f"@f: {name} is used and not defined, as a value or a block"):
        NORMAL.parse(bad)


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
