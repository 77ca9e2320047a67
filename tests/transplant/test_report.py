import json

import pytest

from hf_tokext.errors import MissingExtraError
from hf_tokext.transplant import report as house
from hf_tokext.transplant.plan import SOURCES, make_plan
from hf_tokext.transplant.report import MEANING, REPORT_JSON, REPORT_MARKDOWN, REPORT_PLOT, Report
from hf_tokext.vocabulary.pieces import read_vocabulary
from tests.handmade import bpe

BASE = read_vocabulary(bpe(["a", "b", "c"]))
PLAN = make_plan(BASE, read_vocabulary(bpe(["a", "b", "ab", "d"], merges=[("a", "b")])), base_rows=4, rows=1_200)
UNCALIBRATED = "not calibrated: made rows take more probability than they should; quiet ids take some"
MEAN_ROWS = "1 new ids have no spelling in the old vocabulary: mean rows"


def report(**more):
    return Report.of(PLAN, {3: 0.12345678}, tied=True, **{"calibrated": True} | more)


def test_it_sums_the_plan_up():
    found = report()
    assert (found.method, found.rows, found.base_rows) == ("compose", 1_200, 4)
    assert found.counts == {"role": 1, "anchor": 2, "compose": 1, "fallback": 1, "quiet": 1_195}
    assert found.sources[:6] == ["role", "anchor", "anchor", "compose", "fallback", "quiet"]
    assert found.residuals == {3: 0.123457}
    assert found.warnings == [MEAN_ROWS]


def test_what_was_not_calibrated_is_said_only_where_it_matters():
    assert report(calibrated=False).warnings == [MEAN_ROWS, UNCALIBRATED]
    same = make_plan(BASE, BASE, base_rows=4)
    assert Report.of(same, {}, tied=True, calibrated=False).warnings == []


def test_warnings_of_the_plan_come_first_and_the_plan_is_left_alone():
    digits = make_plan(BASE, read_vocabulary(bpe([*"1234567", "12"])), base_rows=4)
    found = Report.of(digits, {}, tied=False, calibrated=True)
    assert "numbers are cut differently" in found.warnings[0] and len(found.warnings) == 2
    found.warnings.append("more")
    assert "more" not in digits.warnings


def test_json_gives_everything_back(tmp_path):
    found = report(text={"bytes": 10, "tokens_before": 5, "tokens_after": 4}, verification={"sizes": "fine"})
    found.save(tmp_path, plot=False)
    loaded = json.loads((tmp_path / REPORT_JSON).read_text())
    assert loaded.pop("hf_tokext")
    loaded["residuals"] = {int(index): value for index, value in loaded["residuals"].items()}
    assert Report(**loaded) == found


def test_markdown_says_it_to_people():
    found = report(
        text={"bytes": 4_000, "tokens_before": 1_600, "tokens_after": 1_200}, verification={"logits": "finite"}
    )
    assert found.to_markdown().splitlines() == [
        "# What the transplant did",
        "",
        "Row method `compose`, 1,200 rows.",
        "",
        "| where rows come from | ids | |",
        "|---|---:|---|",
        "| role | 1 | copied from the old token of the same role |",
        "| anchor | 2 | copied from the old token of the same bytes |",
        "| compose | 1 | made by the row method from the old tokens of the same bytes |",
        "| fallback | 1 | mean row: the old tokenizer cannot spell it |",
        "| quiet | 1,195 | never produced by the tokenizer, or padding: held at negligible probability |",
        "",
        "On your text (4,000 bytes): 1,600 tokens before, 1,200 after (0.400 -> 0.300 tokens per byte, -25.0%).",
        "",
        "Warnings:",
        f"* {MEAN_ROWS}",
        "",
        "Proved on the finished folder:",
        "* logits: finite",
    ]


def test_markdown_leaves_out_what_there_is_not():
    plain = Report.of(make_plan(BASE, BASE, base_rows=4), {}, tied=True, calibrated=True).to_markdown()
    assert not any(word in plain for word in ("On your text", "Warnings", "Proved"))


def test_every_source_of_a_row_is_explained():
    assert set(MEANING) == set(SOURCES)


def test_a_plot_is_drawn_of_counts_and_of_residuals_by_source(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(house, "plot_sources", lambda *given: drawn.append(given))
    report().save(tmp_path)
    assert drawn == [(tmp_path / REPORT_PLOT, PLAN.counts, {"compose": [0.123457]})]


def test_without_matplotlib_the_rest_is_written(tmp_path, monkeypatch):
    def missing(*given):
        raise MissingExtraError("matplotlib", "plots", "a plot")

    monkeypatch.setattr(house, "plot_sources", missing)
    report().save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {REPORT_JSON, REPORT_MARKDOWN}


@pytest.mark.parametrize("plot", [True, False])
def test_files(tmp_path, plot):
    report().save(tmp_path, plot=plot)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {REPORT_JSON, REPORT_MARKDOWN} | ({REPORT_PLOT} if plot else set())
    assert (tmp_path / REPORT_MARKDOWN).read_text() == report().to_markdown()
