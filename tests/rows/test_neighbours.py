import builtins
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokext.errors import MissingExtraError, RowMethodError, TextError
from hf_tokext.rows import RowProblem, make_rows
from hf_tokext.rows.neighbours import sparsemax
from hf_tokext.rows.words import train_word_vectors

ANCHORS = (b"a", b"b", b"c", b"d")
SCORES = st.floats(-5, 5, allow_nan=False)


def problem(table, pieces=(b"x", b"y"), anchor_pieces=ANCHORS, spellings=((4, 5), ()), **more):
    base = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    pairs = torch.tensor([[10 + i, i] for i in range(4)])
    return RowProblem(
        base=base, wanted=torch.arange(len(pieces)), anchors=pairs, pieces=pieces, spellings=spellings,
        anchor_pieces=anchor_pieces, word_vectors=lambda asked: torch.tensor([table[p] for p in asked]), **more,
    )  # fmt: skip


def brute_force(scores):
    """The nearest point of the simplex: try every support, keep the best feasible one."""
    best, distance = None, float("inf")
    for size in range(1, len(scores) + 1):
        for support in combinations(range(len(scores)), size):
            point = torch.zeros_like(scores)
            chosen = scores[list(support)]
            point[list(support)] = chosen - (chosen.sum() - 1) / size
            if point.min() >= 0 and (point - scores).norm() < distance:
                best, distance = point, float((point - scores).norm())
    return best


@settings(deadline=None, max_examples=60)
@given(st.lists(SCORES, min_size=1, max_size=6))
def test_sparsemax_is_the_projection_onto_the_simplex(scores):
    scores = torch.tensor(scores, dtype=torch.float64)
    assert torch.allclose(sparsemax(scores[None])[0], brute_force(scores), atol=1e-9)


def test_sparsemax_takes_a_batch_and_large_scores():
    scores = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([brute_force(row) for row in scores])
    assert torch.allclose(sparsemax(scores), expected, atol=1e-12)
    assert torch.allclose(sparsemax(scores + 2.0**20), expected, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2), min_size=5, max_size=5),
    st.sampled_from(["sparsemax", "softmax"]),
    st.integers(1, 6),
)
def test_rows_are_convex_combinations_of_the_anchors(vectors, weights, count):
    table = {**dict(zip((*ANCHORS, b"x"), vectors, strict=True)), b"a": [1.0, 0.0], b"x": [0.3, vectors[4][1]]}
    posed = problem(table, (b"x",), spellings=((),))
    rows = make_rows("neighbours", posed, weights=weights, neighbours=count)
    corners = posed.base[:4]
    assert (rows.values <= corners.max(0).values + 1e-5).all() and (rows.values >= corners.min(0).values - 1e-5).all()
    # affine coordinates of the row in the (generic) simplex of its four corners are unique and form a convex sum
    system = torch.cat([corners.T, torch.ones(1, 4)]).double()
    shares = torch.linalg.solve(system, torch.cat([rows.values[0], torch.ones(1)]).double())
    assert shares.min() > -1e-4 and abs(float(shares.sum()) - 1) < 1e-6
    assert 0 <= float(rows.residual) <= 1


def test_known_weights_and_the_fallback_for_zero_vectors():
    table = {
        b"a": [2.0, 0.0],
        b"b": [0.0, 1.0],
        b"c": [-1.0, 0.0],
        b"d": [0.0, 0.0],
        b"x": [0.6, 0.8],
        b"y": [0.0, 0.0],
    }
    posed = problem(table)
    rows = make_rows("neighbours", posed)
    # cosines .6 and .8: the projection of (.6, .8, -.6) takes .2 off both
    assert torch.allclose(rows.values[0], 0.4 * posed.base[0] + 0.6 * posed.base[1], atol=1e-6)
    assert torch.allclose(rows.values[1], posed.base.mean(0), atol=1e-6) and float(rows.residual[1]) == 1
    assert abs(float(rows.residual[0]) - 0.08**0.5) < 1e-6  # |(.4, .6) - (.6, .8)|
    soft = make_rows("neighbours", posed, weights="softmax", neighbours=2).values[0]
    share = torch.tensor([6.0, 8.0]).softmax(0)
    assert torch.allclose(soft, share @ posed.base[:2], atol=1e-6)
    one = make_rows("neighbours", posed, weights="softmax", neighbours=1).values[0]
    assert torch.allclose(one, posed.base[1], atol=1e-6)
    spelled = make_rows("neighbours", problem(table, (b"y", b"x"))).values[0]
    assert torch.allclose(spelled, posed.base[[4, 5]].mean(0), atol=1e-6)


def test_little_memory_changes_nothing_and_progress_ends():
    table = {p: torch.randn(3, generator=torch.Generator().manual_seed(p[0])).tolist() for p in (*ANCHORS, b"x", b"y")}
    seen = []
    small = make_rows(
        "neighbours", problem(table, max_memory=1, progress=lambda done, total: seen.append((done, total)))
    )
    assert torch.allclose(small.values, make_rows("neighbours", problem(table)).values, atol=1e-6)
    assert seen == [(1, 2), (2, 2)]


def test_bad_input_is_refused():
    table = {p: [1.0, 0.0] for p in (*ANCHORS, b"x", b"y")}
    for options in ({"weights": "hard"}, {"temperature": 0.0}, {"neighbours": 0}):
        with pytest.raises(RowMethodError, match="neighbours"):
            make_rows("neighbours", problem(table), **options)
    with pytest.raises(RowMethodError, match="anchor_pieces"):
        make_rows("neighbours", problem(table, anchor_pieces=()))
    with pytest.raises(RowMethodError, match="no anchor has a word vector"):
        make_rows("neighbours", problem({**table, **dict.fromkeys(ANCHORS, [0.0, 0.0])}))
    with pytest.raises(RowMethodError, match="finite"):
        make_rows("neighbours", problem({**table, b"x": [float("nan"), 0.0]}))


def test_fasttext_end_to_end():
    pytest.importorskip("gensim", reason="the extra 'words' is not installed")
    animals, numbers = [b" cat", b" dog", b" cow"], [b" one", b" two", b" six"]
    order = torch.Generator().manual_seed(0)
    texts = []
    for _ in range(600):
        group, verb = (animals, b" eats") if torch.rand(1, generator=order) < 0.5 else (numbers, b" plus")
        picks = torch.randint(3, (4,), generator=order).tolist()
        texts.append([piece for pick in picks for piece in (group[pick], verb)])
    vectors = train_word_vectors(iter(texts), dim=16, epochs=10, seed=1)
    made = vectors([*animals, *numbers])
    assert torch.allclose(made.norm(dim=1), torch.ones(6), atol=1e-5)
    cosines = made @ made.T
    assert cosines[0, 1:3].min() > cosines[0, 3:].max()
    assert torch.equal(made, train_word_vectors(texts, dim=16, epochs=10, seed=1)([*animals, *numbers]))
    assert not vectors([b"\xff\xfe\x80"]).any() and vectors([]).shape == (0, 16)
    assert float(vectors([b" cats"]) @ vectors([b" cat"]).T) > float(vectors([b" cats"]) @ vectors([b" two"]).T)
    posed = RowProblem(
        base=torch.eye(4), wanted=torch.tensor([0]), anchors=torch.tensor([[1, 0], [2, 1], [3, 2], [4, 3]]),
        pieces=[b" cat"], spellings=[()], anchor_pieces=[b" dog", b" cow", b" two", b" six"], word_vectors=vectors,
    )  # fmt: skip
    row = make_rows("neighbours", posed).values[0]
    assert row[:2].sum() > 0.5 > row[2:].sum()


def test_word_vectors_need_gensim_and_text(monkeypatch):
    with pytest.raises(TextError, match="no token"):
        train_word_vectors([[], []])
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("gensim"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"hf-tokext\[words\]"):
        train_word_vectors([[b"a"]])
