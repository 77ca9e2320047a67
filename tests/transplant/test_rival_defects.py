"""The sixteen defects that mergekit-tokensurgeon 0.1.5 was found to have, by number; none may ever be ours."""

import json

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from hf_tokext.rows import RowProblem, batch_omp, make_rows, omp, omp_gram
from hf_tokext.rows.omp_plan import OmpPlan
from hf_tokext.rows.registry import BUILT_IN
from hf_tokext.transplant import transplant_checkpoint
from hf_tokext.transplant.plan import make_plan
from hf_tokext.transplant.tables import TableOptions, Tables, new_tables
from hf_tokext.vocabulary.alignment import align
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.handmade import bpe, metaspace
from tests.tiny_models import tiny, tiny_folder
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

ACCENTS = byte_level(310, text="é éé café Café naïve " * 20)  # has é as one token
PLAIN = byte_level(300)  # has the bytes of é only
LLAMA = sentencepiece_like()


def plan(base, target, **options):
    base, target = read_vocabulary(base), read_vocabulary(target)
    return make_plan(base, target, base_rows=len(base), **options)


def at(tokenizer, token):
    index = tokenizer.convert_tokens_to_ids(token)
    assert tokenizer.convert_ids_to_tokens(index) == token
    return index


def copies(base, target):
    """What is copied, by vocabulary strings: new token to old token."""
    pairs = plan(base, target).copied.items()
    return {target.convert_ids_to_tokens(new): base.convert_ids_to_tokens(old) for new, old in pairs}


def test_01_non_ascii_tokens_match_across_encodings():
    assert copies(ACCENTS, LLAMA)["é"] == "Ã©"
    assert copies(LLAMA, ACCENTS)["Ã©"] == "é"


def test_02_a_lone_byte_symbol_matches_a_byte_and_never_the_letter_it_looks_like():
    found = copies(PLAIN, LLAMA)
    assert found["<0xE9>"] == "é" and "é" not in found
    assert plan(PLAIN, LLAMA).spelled[at(LLAMA, "é")] == (at(PLAIN, "Ã"), at(PLAIN, "©"))
    symbols = {symbol: byte for byte, symbol in zip([*range(0xA1, 0xAD), *range(0xAE, 0x100)],
               [*map(chr, range(0xA1, 0xAD)), *map(chr, range(0xAE, 0x100))], strict=True)}  # fmt: skip
    assert {new: old for new, old in found.items() if old in symbols} == {
        f"<0x{byte:02X}>": symbol for symbol, byte in symbols.items()
    }


def test_03_the_python_class_of_a_tokenizer_changes_nothing(tmp_path):
    text = LLAMA.backend_tokenizer.to_str()
    core = Tokenizer.from_str(text)
    (tmp_path / "tokenizer.json").write_text(text)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    named = [type(name, (PreTrainedTokenizerFast,), {}) for name in ("GPT2Tokenizer", "Qwen2Tokenizer", "Tokenizer")]
    sources = [core, tmp_path, *(kind(tokenizer_object=Tokenizer.from_str(text)) for kind in named)]
    base = read_vocabulary(PLAIN)
    expected = align(read_vocabulary(LLAMA), base).anchors
    assert len(expected) > 256 + 26
    assert [align(read_vocabulary(source), base).anchors for source in sources] == [expected] * len(sources)


def test_04_one_token_keeps_all_its_roles_and_markers_have_meanings():
    gpt2 = bpe(
        ["a"], special=("<|endoftext|>",), **dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    )
    assert [copies(gpt2, LLAMA)[token] for token in ("<unk>", "<s>", "</s>")] == ["<|endoftext|>"] * 3
    gemma = bpe(["a"], special=("<eos>", "<start_of_turn>", "<end_of_turn>", "<pad>", "<fim_prefix>", "[TOOL_CALLS]"))
    qwen = bpe(["a"], special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<tool_call>"))
    assert copies(gemma, qwen) == {
        "<|endoftext|>": "<eos>", "<|im_start|>": "<start_of_turn>", "<|im_end|>": "<end_of_turn>",
        "<|fim_prefix|>": "<fim_prefix>", "<tool_call>": "[TOOL_CALLS]", "a": "a",
    }  # fmt: skip
    assert plan(gemma, qwen, overrides={"<|im_end|>": "<eos>"}).copied[2] == 0


def test_05_runs_of_spaces_and_newlines_match():
    words = bpe(["Ġ", "ĠĠ", "Ċ", "ĊĊ", "ĉ"], special=("</s>",))
    pieces = metaspace(["▁", "▁▁"], added=["\n\n"])
    found = copies(words, pieces)
    wanted = {"▁": "Ġ", "▁▁": "ĠĠ", "<0x0A>": "Ċ", "\n\n": "ĊĊ", "<0x09>": "ĉ"}
    assert {token: found[token] for token in wanted} == wanted
    assert copies(pieces, words) == {old: new for new, old in wanted.items()} | {"</s>": "</s>"}


OPTIONS = {
    "compose": {"input_decay": 0.5}, "mean": {}, "zero": {}, "normal": {}, "omp": {"k": 1}, "ridge": {"strength": 1e12},
    "neighbours": {"weights": "softmax", "neighbours": 1, "temperature": 0.5},
    "centred": {"directions": 4},
}  # fmt: skip
LETTERS = bpe([*"abcdefghijkl"])
WORD = bpe([*"abcdefghijkl", "ab"])


def letters(method):
    """Thirteen ids anchor, "ab" is wanted; its donor row is twice that of d, its word vector near that of e."""
    draw = torch.Generator().manual_seed(3)
    base, donor = torch.randn(13, 4, generator=draw), torch.randn(14, 6, generator=draw)
    donor[4] *= 10
    donor[13] = 2 * donor[4]

    def vectors(pieces):
        return torch.stack(
            [torch.tensor({b"e": [1.0, 0.0], b"ab": [1.0, 0.1]}.get(piece, [0.0, 1.0])) for piece in pieces]
        )

    options = TableOptions(donor=Tables(donor), word_vectors=vectors, method_options=OPTIONS[method])
    return Tables(base), options


@pytest.mark.parametrize("method", BUILT_IN)
def test_06_every_row_method_gets_its_options_as_numbers(method):
    tables, options = letters(method)
    base = tables.input
    expected = {
        "compose": (base[1] + 2 * base[2]) / 3,
        "mean": base.mean(0),
        "normal": base.mean(0),
        "zero": torch.zeros(4),
        "omp": 2 * base[4],
        "ridge": base[1:].mean(0),
        "neighbours": base[5],
        "centred": base.mean(0),  # all four directions are left out
    }
    found, _ = new_tables(plan(LETTERS, WORD, method=method), tables, options)
    assert torch.allclose(found.input[13], expected[method], atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", BUILT_IN)
def test_07_every_row_method_works_on_halves_and_rounds_once(method, dtype):
    tables, options = letters(method)
    half, donor = tables.input.to(dtype), options.donor.input.to(dtype)
    vectors, numbers = options.word_vectors, options.method_options
    halves, wholes = (
        new_tables(
            plan(LETTERS, WORD, method=method), Tables(base), TableOptions(Tables(given), None, vectors, numbers)
        )[0].input
        for base, given in ((half, donor), (half.float(), donor.float()))
    )
    assert halves.dtype == dtype and torch.equal(halves, wholes.to(dtype))


def test_08_rotary_settings_of_base_and_donor_are_never_asked_for(tmp_path):
    for name, theta, text in (("base", 50_000.0, "the cat sat " * 20), ("donor", 777.0, "rivers and boats " * 20)):
        tokenizer = byte_level(280, text=text)
        tokenizer.save_pretrained(tmp_path / name)
        model = tiny("llama", vocab_size=len(tokenizer))
        model.config.rope_parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": theta}
        model.save_pretrained(tmp_path / name)
    transplant_checkpoint(tmp_path / "base", tmp_path / "donor", tmp_path / "out", method="omp", calibrate=False)
    base, out = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("base", "out"))
    assert out["rope_parameters"] == base["rope_parameters"] and out["rope_parameters"]["rope_theta"] == 50_000.0
    assert "rope_theta" not in out


def test_09_ridge_finds_a_rotation_under_noise_and_not_its_transpose():
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=draw)).Q
    truth = torch.randn(500, 16, generator=draw) * torch.arange(1, 17) ** -0.5
    donor = truth @ turn.T + 0.02 * torch.randn(500, 16, generator=draw)
    wanted = torch.arange(400, 500)
    posed = RowProblem(
        base=truth[:400], wanted=wanted, anchors=torch.arange(400).repeat(2, 1).T, pieces=[b"x"] * 100,
        spellings=[()] * 100, donor=donor,
    )  # fmt: skip
    cosines = torch.cosine_similarity(make_rows("ridge", posed).values, truth[wanted])
    assert float(cosines.mean()) > 0.99 and float(cosines.min()) > 0.95


@pytest.mark.parametrize("option", ["input_decay", "output_decay"])
def test_10_options_of_the_input_and_of_the_head_are_not_swapped(option):
    base, head = torch.randn(2, 13, 4, generator=torch.Generator().manual_seed(0))
    found, _ = new_tables(plan(LETTERS, WORD), Tables(base, head), TableOptions(method_options={option: 0.5}))
    decayed = option == "input_decay", option == "output_decay"
    assert torch.allclose(found.input[13], (base[1] + (1 + decayed[0]) * base[2]) / (2 + decayed[0]))
    assert torch.allclose(found.output[13], ((1 + decayed[1]) * head[1] + head[2]) / (2 + decayed[1]))


@pytest.mark.parametrize(
    ("side", "shares"), [("input", [1, 2, 4, 8]), ("tied", [1, 2, 4, 8]), ("output", [8, 4, 2, 1])]
)
def test_11_the_last_piece_weighs_most_in_the_input_and_the_first_in_the_head(side, shares):
    posed = RowProblem(
        base=torch.eye(4), wanted=torch.tensor([0]), anchors=torch.empty(0, 2).long(), pieces=[b"x"],
        spellings=[(0, 1, 2, 3)], side=side,
    )  # fmt: skip
    weights = make_rows("compose", posed, input_decay=0.5, output_decay=0.5).values[0]
    assert torch.allclose(weights, torch.tensor(shares) / 15)


def test_12_pieces_are_spelt_as_bytes_and_markers_not_at_all():
    latin = bpe([*"Caf", "Ã", "©", "Caf"], merges=[])
    target = bpe([*"Caf", "Ã", "©", "Ca", "Caf", "CafÃ", "CafÃ©", "e", "o", "s"], special=("</s>", "<|odd|>"))
    made = plan(latin, target)
    pieces = read_vocabulary(latin)
    spelling = made.spelled[at(target, "CafÃ©")]
    assert [pieces.piece(i) for i in spelling] == [b"C", b"a", b"f", b"\xc3", b"\xa9"]
    cafe = at(ACCENTS, "ĠcafÃ©")
    assert [LLAMA.convert_ids_to_tokens(i) for i in plan(LLAMA, ACCENTS).spelled[cafe]] == ["▁", "c", "a", "f", "é"]
    odd = plan(PLAIN, target)  # all bytes of "<|odd|>" have tokens there
    assert odd.source[1] == "fallback" and odd.spelled[1] == ()


def rows_of(base, count, seed=0):
    posed = RowProblem(
        base=base, wanted=torch.arange(count), anchors=torch.empty(0, 2).long(), pieces=[b""] * count,
        spellings=[()] * count, seed=seed,
    )  # fmt: skip
    return make_rows("normal", posed).values


def test_13_a_singular_covariance_is_sampled_at_a_billionth_of_itself():
    half = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    base = torch.cat([half, -half])  # mean 0, rank 2
    rows = rows_of(base, 20_000).double()
    expected = base.double().T @ base.double() / 4
    assert torch.allclose(1e9 * rows.T @ rows / len(rows), expected, atol=0.05 * float(expected.diagonal().max()))
    outside = torch.linalg.svd(half.double()).Vh[2:]
    assert float((rows @ outside.T).abs().max()) < 1e-6 * float(rows.abs().max())


def test_14_drawn_rows_have_the_scale_that_transformers_gives_them():
    model = tiny("llama", vocab_size=96)
    base = model.get_input_embeddings().weight.detach().clone()
    torch.manual_seed(0)
    model.resize_token_embeddings(96 + 800, mean_resizing=True)
    theirs, ours = model.get_input_embeddings().weight.detach()[96:], rows_of(base, 800)
    spreads = [float((rows - base.mean(0)).norm()) for rows in (theirs, ours)]
    assert 0.9 < spreads[1] / spreads[0] < 1.1
    assert float(ours.norm(dim=1).max()) < 2 * float(base.norm(dim=1).mean())


def test_15_generation_stops_where_it_should_in_every_config(tmp_path):
    old = byte_level(300, eos_token="</s>", pad_token="<pad>")
    old.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    model = tiny_folder("gemma3_multimodal", tmp_path / "base", vocab_size=len(old))
    old.save_pretrained(tmp_path / "base")
    generation = {"eos_token_id": [2, at(old, "<end_of_turn>")], "pad_token_id": 0, "top_k": 7}
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(generation))
    new = byte_level(270, text="rivers and boats " * 20, eos_token="</s>", pad_token="<pad>", padding_side="left")
    new.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    tiny_folder("llama", tmp_path / "donor", vocab_size=len(new))
    new.save_pretrained(tmp_path / "donor")
    config = json.loads((tmp_path / "donor" / "config.json").read_text())
    (tmp_path / "donor" / "config.json").write_text(json.dumps(config | {"padding_side": "left", "eos_token_id": 9}))

    transplant_checkpoint(tmp_path / "base", tmp_path / "donor", tmp_path / "out", calibrate=False)
    ends = [2, at(new, "<|im_end|>")]
    generation = GenerationConfig.from_pretrained(tmp_path / "out")
    assert (generation.eos_token_id, generation.pad_token_id, generation.top_k) == (ends, 0, 7)
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written["eos_token_id"] == written["text_config"]["eos_token_id"] == ends
    assert "padding_side" not in written and "padding_side" not in written["text_config"]
    assert AutoTokenizer.from_pretrained(tmp_path / "out").padding_side == "left"
    assert written["model_type"] == model.config.model_type


def test_16_the_dictionary_is_gathered_once_for_all_targets(monkeypatch):
    solved, grams, blocks = [], [], []
    solve, gram, run = omp.solve_omp, omp_gram.TiledGram, batch_omp._Block.run
    monkeypatch.setattr(omp, "solve_omp", lambda *a, **o: solved.append(a[0].shape) or solve(*a, **o))
    monkeypatch.setattr(omp_gram, "TiledGram", lambda atoms: grams.append(atoms) or gram(atoms))
    monkeypatch.setattr(batch_omp._Block, "run", lambda self, *a: blocks.append(self.vectors.atoms) or run(self, *a))
    monkeypatch.setattr(batch_omp, "plan_omp", lambda *a, **o: OmpPlan(True, block=16, chunk=8, workers=1, memory=0))
    draw = torch.Generator().manual_seed(0)
    posed = RowProblem(
        base=torch.randn(60, 5, generator=draw), wanted=torch.arange(60, 160), pieces=[b"x"] * 100,
        anchors=torch.arange(60).repeat(2, 1).T, spellings=[()] * 100, donor=torch.randn(160, 8, generator=draw),
    )  # fmt: skip
    make_rows("omp", posed, k=4)
    assert solved == [(60, 8)] and len(grams) == 1
    assert len(blocks) == 7 and {atoms.data_ptr() for atoms in blocks} == {grams[0].data_ptr()}
