"""The worked examples of the domains run as they stand at toy size, and what they save loads; all of them take long."""

import re
import runpy
from pathlib import Path

import pytest
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer

from hf_tokext import ByteTokenizer, LLVMIRTokenizer, MoleculeTokenizer, SideChannelForCausalLM, domains_of
from tests.ecosystem.checkpoints import DOMAIN_EXAMPLES, EXAMPLES

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # PEFT 0.21: the old name
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]


def draw_shapes(run, folder):
    said = run("extend/draw_shapes", "--toy", "--steps", "12", "--sequences", "6", "--output", "out")
    first, last = map(float, re.search(r"loss ([\d.]+) at first, ([\d.]+) at last", said).groups())
    assert last < first and "6 of 6 drawings well-formed" in said
    tokenizer = AutoTokenizer.from_pretrained(folder / "out" / "adapter")
    model = AutoPeftModelForCausalLM.from_pretrained(folder / "out" / "adapter")
    assert list(domains_of(tokenizer)) == ["svg"] and len(model.get_input_embeddings().weight) >= len(tokenizer)


def ir_functions(run, folder):
    said = run("llvm_ir/ir_functions", "--toy", "--output", "out")
    assert "functions to learn" in said and "18 held out" in said
    assert int(re.search(r"trained: .* samples (\d+) parse", said).group(1)) >= 10
    cost = {name: float(bits) for name, bits in re.findall(r"(\w+): ([\d.]+) bits an instruction held out", said)}
    assert cost["trained"] < cost["untrained"] and cost["bigrams"] < cost["untrained"]
    tokenizer = AutoTokenizer.from_pretrained(folder / "out")
    model = AutoModelForCausalLM.from_pretrained(folder / "out")
    assert type(tokenizer) is LLVMIRTokenizer and len(model.get_input_embeddings().weight) == len(tokenizer)
    samples = sorted((folder / "out").glob("*.ll"))
    assert len(samples) == 60 and all(LLVMIRTokenizer()(each.read_text(encoding="utf-8")).input_ids for each in samples)
    page = (folder / "out" / "table.html").read_text(encoding="utf-8")
    assert re.findall("<th>(.*?)</th>", page) == ["held out", "trained", "bigrams", "untrained"]
    cells = re.findall(
        r"<td .*?<b>(\w+)</b>, (?:(\d+) instructions?, )?(\d+) tokens<pre>(.*?)</pre></td>", page, re.DOTALL
    )
    assert len(cells) == page.count("<td") == 32 and len({text for *_, text in cells}) == 32
    assert cells[::4] == [("verifies", "3", cells[0][2], text) for *_, text in cells[::4]]
    assert all(int(tokens) > 2 and (verdict == "refused") == (count == "") for verdict, count, tokens, _ in cells)


def molecule_tokens(run, folder):
    said = run("molecule/molecule_tokens", "CC(=O)Oc1ccccc1C(=O)O", "out.svg")
    rows = [line.split(maxsplit=1) for line in said.splitlines()]
    assert sum(ids.startswith("[") for _, ids in rows) == 13 and rows[1][0] == "[C]"
    drawn = (folder / "out.svg").read_text(encoding="utf-8")
    assert drawn.count("<svg") == 1 and "<path" in drawn


def train_selfies(run, folder):
    said = run("molecule/train_selfies", "out", "--steps", "4", "--samples", "4")
    costs = {name: float(bits) for name, bits in re.findall(r"^(\w+) \| ([\d.]+) \|", said, re.MULTILINE)}
    assert costs["trained"] < costs["untrained"] and costs["bigrams"] < costs["untrained"]
    assert type(AutoTokenizer.from_pretrained(folder / "out")) is MoleculeTokenizer
    assert (folder / "out" / "samples.png").stat().st_size > 1_000


def letter_counts(run, folder):
    said = run("side_channel/letter_counts", "--toy", "--steps", "20", "--output", "out")
    losses = dict(re.findall(r"(\w[\w ]+): ([\d.]+) nats", said))
    assert set(losses) == {"before", "after", "with the ids of another word", "without ids"}
    assert float(losses["after"]) < float(losses["before"])
    model, tokenizer = AutoModelForCausalLM.from_pretrained("out"), AutoTokenizer.from_pretrained("out")
    assert type(model) is SideChannelForCausalLM and type(tokenizer) is ByteTokenizer
    assert model.side.tables["lengths"].rows.weight[1:].any()
    said = run("side_channel/letter_counts", "--toy", "--steps", "20", "--without-ids")
    assert dict(re.findall(r"(\w[\w ]+): ([\d.]+) nats", said)).keys() == {"before", "after"}


def read_and_draw(run, folder):
    said = run("multimodal/read_and_draw", "--toy", "--codec-steps", "60", "--steps", "40", "--output", "out")
    right = int(re.search(r"(\d+) of 16 pictures that were not learned from are named right", said).group(1))
    assert right > 4  # of four names
    model = AutoModelForCausalLM.from_pretrained(folder / "out" / "model")
    processor = AutoProcessor.from_pretrained(folder / "out" / "model")
    assert list(model.senses) == ["image"] and processor.spaces["image"].steps == 16
    page = (folder / "out" / "page.html").read_text(encoding="utf-8")
    assert re.findall("<tr><th>(.+?)</th><td>", page) == ["blue disc", "blue square", "red disc", "red square"]
    pictures = re.findall('src="data:image/png;base64,(.*?)"', page)
    assert len(pictures) == 4 * (2 + 4) and len(set(pictures)) > 8
    learned = [len(list(each.iterdir())) for each in (folder / "out" / "learn").iterdir()]
    assert learned == [36] * 4


def svg_icons(run, folder):
    from PIL import Image

    said = run("svg/svg_icons", "--toy", "--steps", "40", "--output", "out")
    model, bigram, unigram = map(float, re.search(r"model ([\d,]+), bigram ([\d,]+), unigram ([\d,]+)", said).groups())
    assert model < unigram and bigram < unigram
    assert "135 drawings to learn from, 15 held out" in said and "8 drawings, all well-formed" in said
    tokenizer = AutoTokenizer.from_pretrained(folder / "out")
    model = AutoModelForCausalLM.from_pretrained(folder / "out")
    assert len(model.get_input_embeddings().weight) == len(tokenizer)
    drawings = list((folder / "out").glob("*.svg"))
    assert len(drawings) == 8 and all(tokenizer.decode(tokenizer(each.read_text()).input_ids) for each in drawings)
    sheet = Image.open(folder / "out" / "icons.png")
    assert sheet.size == (840, 528) and len(sheet.getcolors(1 << 20)) > 3


def teach_drawing(run, folder):
    from PIL import Image

    said = run("svg/teach_drawing", "--toy", "--steps", "20", "20", "--output", "out")
    costs = list(map(float, re.search(r"extended ([\d.]+), .* ([\d.]+), after both ([\d.]+)", said).groups()))
    assert costs[2] < costs[1] < costs[0]
    assert "8 drawings, all well-formed" in said and len(list((folder / "out").glob("?.svg"))) == 8
    tokenizer = AutoTokenizer.from_pretrained(folder / "out")
    model = AutoModelForCausalLM.from_pretrained(folder / "out")
    assert list(domains_of(tokenizer)) == ["svg"] and len(model.get_input_embeddings().weight) == len(tokenizer)
    assert Image.open(folder / "out" / "drawings.png").size == (840, 216)


CHECKS = {
    "extend/draw_shapes": draw_shapes,
    "llvm_ir/ir_functions": ir_functions,
    "molecule/molecule_tokens": molecule_tokens,
    "molecule/train_selfies": train_selfies,
    "multimodal/read_and_draw": read_and_draw,
    "side_channel/letter_counts": letter_counts,
    "svg/svg_icons": svg_icons,
    "svg/teach_drawing": teach_drawing,
}


def test_each_is_checked_here():
    assert sorted(CHECKS) == DOMAIN_EXAMPLES


@pytest.mark.long
@pytest.mark.parametrize("name", DOMAIN_EXAMPLES)
def test_at_toy_size(name, run, tmp_path):
    CHECKS[name](run, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", DOMAIN_EXAMPLES)
def test_help_and_nothing_given(name, run, capsys, tmp_path):
    """A person who gives nothing is told what to give."""
    with pytest.raises(SystemExit) as stopped:
        run(name, "--help")
    said = capsys.readouterr().out
    assert stopped.value.code == 0 and f"{Path(name).name}.py" in said
    if name in ("extend/draw_shapes", "side_channel/letter_counts"):
        return  # they have a default for everything
    with pytest.raises(SystemExit) as stopped:
        run(name)
    assert stopped.value.code == 2 and list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_shuffled_ids_are_those_of_rows_of_the_same_length():
    example = runpy.run_path(str(EXAMPLES / "side_channel" / "letter_counts.py"))
    rows = [example["row"](ByteTokenizer(), word, False) for word in example["words"]()[:50]]
    mixed = example["shuffled"](rows, 0)
    assert all(len(one["side_ids"]) == len(one["input_ids"]) for one in mixed)
    assert sorted(one["side_ids"].flatten().tolist() for one in mixed) == sorted(
        one["side_ids"].flatten().tolist() for one in rows
    )
    batch = example["collate"](mixed[:3])
    assert batch["side_ids"].shape == (*batch["input_ids"].shape, 1)


@pytest.mark.long
def test_icons_of_one_name_are_told_apart_and_files_that_are_no_utf_8_are_left_out(run, tmp_path):
    """As themes have them: one name in several folders; and captions of which file names keep the same letters."""
    from PIL import Image

    colors = {"red": "красный", "blue": "синий"}
    for color, word in colors.items():
        (tmp_path / "theme" / color).mkdir(parents=True)
        for number in range(20):
            (tmp_path / "theme" / color / f"icon {number}.svg").write_text(
                f'<svg viewBox="0 0 16 16"><title>{chr(0x430 + number)} {word}</title><rect width="16" height="16" fill="{color}"/></svg>',
                encoding="utf-8",
            )
    (tmp_path / "theme" / "latin.svg").write_bytes('<svg viewBox="0 0 16 16"><title>é</title></svg>'.encode("latin-1"))
    said = run("svg/svg_icons", "theme", "--steps", "3", "--width", "32", "--length", "128", "--output", "out")
    assert "41 files, 1 left out; 36 drawings to learn from, 4 held out" in said
    asked = re.search(r"asked for: (.*); 4 drawings, all well-formed", said)[1].split(", ")
    assert len(list((tmp_path / "out").glob("*.svg"))) == len(set(asked)) == 4
    sheet, words = Image.open(tmp_path / "out" / "icons.png"), {(255, 0, 0): "красный", (0, 0, 255): "синий"}
    seen = [[sheet.getpixel((104 * across + 56, 104 * down + 56)) for across in range(8)] for down in range(3)]
    assert seen[0] == seen[1] and set(seen[0]) == set(words)  # files, and the same drawings on the grid
    assert [words[color] for color in seen[2][:4]] == [caption.split()[-1] for caption in asked]
