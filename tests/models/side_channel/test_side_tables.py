"""The rules of mixing, against sums written out."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokext.errors import TextError
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.models.side_channel.side_tables import SideTables
from tests.models.side_channel.conftest import TABLES, batch, fill

WIDTH = 4


def tables_of(tables, seed=0, width=WIDTH):
    side = SideTables(SideChannelConfig(side_tables=tables).side_tables, width).double()
    for table in side.tables.values():
        table.start()
    fill(side, seed)
    return side


def by_hand(side, name, embedding, ids):
    """One position, in plain numbers."""
    table = side.tables[name]
    token, weight = table.table["weights"]
    there = [level for level in ids.tolist() if level >= 0]
    if not there:
        return embedding
    rows = [table.rows.weight[level + 1] for level in there]
    return token * embedding + weight * sum(rows) / len(rows)


@given(st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_every_position_is_what_its_own_ids_say(seed, share):
    side = tables_of(TABLES, seed)
    _, ids = batch(seed=seed, share=share)
    embeddings = torch.randn(*ids.shape[:2], WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = side(embeddings, ids)
    for row in range(ids.shape[0]):
        for at in range(ids.shape[1]):
            expected = embeddings[row, at]
            for name, start, end in (("kinds", 0, 1), ("shells", 1, 4), ("tags", 4, 6)):
                expected = by_hand(side, name, expected, ids[row, at, start:end])
            torch.testing.assert_close(found[row, at], expected, rtol=0, atol=1e-12)
            if (ids[row, at] < 0).all():
                assert torch.equal(found[row, at], embeddings[row, at])


@pytest.mark.parametrize("mixing", ["mean", "concat"])
def test_a_mixed_batch_equals_singletons_and_by_the_published_rule_does_not(mixing):
    """The published defect: one sample's ids change the embeddings of all others."""
    ids = torch.tensor([[[3, -1], [-1, -1]], [[-1, -1], [-1, -1]]])
    embeddings = torch.randn(2, 2, WIDTH, dtype=torch.float64)
    for kind, equal in ((mixing, True), ("published", False)):
        side = tables_of({"shells": {"size": 8, "levels": 2, "mixing": kind}})
        together = side(embeddings, ids)
        alone = torch.cat([side(embeddings[row : row + 1], ids[row : row + 1]) for row in range(2)])
        assert torch.equal(together, alone) is equal
        assert torch.equal(together[1], embeddings[1]) is equal


def test_published_rule_by_hand():
    side = tables_of({"shells": {"size": 8, "levels": 4, "mixing": "published"}})
    rows = side.tables["shells"].rows.weight
    ids = torch.tensor([[[3, 5, -1, -1], [-1, -1, -1, -1]]])
    embeddings = torch.randn(1, 2, WIDTH, dtype=torch.float64)
    z = torch.stack([(rows[4] + rows[6]) / 4, torch.zeros(WIDTH, dtype=torch.float64)])[None]
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(side(embeddings, ids, torch.tensor([[7, 1]])), 0.5 * embeddings + 0.5 * z, **close)
    torch.testing.assert_close(side(embeddings, ids, torch.tensor([[1, 1]])), z, **close)  # 3-D only
    assert torch.equal(side(embeddings, torch.full_like(ids, -1), torch.tensor([[7, 1]])), embeddings)  # 1-D only


@pytest.mark.parametrize(("mixing", "everywhere"), [("concat", False), ("published_concat", True)])
def test_concat_is_the_layers_of_the_paper(mixing, everywhere):
    side = tables_of({"shells": {"size": 8, "levels": 2, "mixing": mixing}})
    table = side.tables["shells"]
    with torch.no_grad():
        for value in table.mlp.parameters():
            value.copy_(torch.randn(value.shape))
    ids = torch.tensor([[[3, -1], [-1, -1]]])
    embeddings = torch.randn(1, 2, WIDTH, dtype=torch.float64)
    z = torch.zeros(1, 2, WIDTH, dtype=torch.float64)
    z[0, 0] = table.rows.weight[4] / (2 if everywhere else 1)
    first, _, last = table.mlp
    hidden = (torch.cat([embeddings, z], -1) @ first.weight.T + first.bias).clamp(min=0)
    expected = hidden @ last.weight.T + last.bias
    assert first.weight.shape == (4 * WIDTH, 2 * WIDTH) and last.weight.shape == (WIDTH, 4 * WIDTH)
    if not everywhere:
        expected[0, 1] = embeddings[0, 1]
    torch.testing.assert_close(side(embeddings, ids), expected, rtol=0, atol=1e-12)


def test_the_row_for_none_gets_no_gradient_and_counts_for_nothing():
    side = tables_of({"shells": {"size": 8, "levels": 2}})
    rows = side.tables["shells"].rows.weight
    with torch.no_grad():
        rows[0] = 100.0  # a checkpoint may hold anything here
    ids = torch.tensor([[[3, -1], [-1, -1]]])
    found = side(torch.zeros(1, 2, WIDTH, dtype=torch.float64), ids)
    assert torch.equal(found[0, 0], rows[4]) and not found[0, 1].any()
    found.sum().backward()
    assert rows.grad[0].abs().sum() == 0 and rows.grad[4].abs().sum() > 0


def test_wrong_ids_are_named():
    side = tables_of({"shells": {"size": 8, "levels": 2}})
    embeddings = torch.zeros(1, 2, WIDTH, dtype=torch.float64)
    for wrong in (8, -2):
        with pytest.raises(TextError, match=rf"'shells' has no id {wrong}; ids are 0 to 7, and -1"):
            side(embeddings, torch.tensor([[[0, wrong], [0, 0]]]))
    for wrong, said in ((torch.zeros(1, 2, 2), "float32"), (torch.ones(1, 2, 2, dtype=torch.bool), "bool")):
        with pytest.raises(TextError, match=f"side_ids are {said}; they must be whole numbers"):
            side(embeddings, wrong)
    with pytest.raises(TextError, match=r"must be \[1, 2, 2\]"):
        side(embeddings, torch.zeros(1, 3, 2, dtype=torch.long))


def test_narrow_numbers_do_not_wrap_around():
    side = tables_of({"shells": {"size": 128}})
    embeddings = torch.zeros(1, 2, WIDTH, dtype=torch.float64)
    ids = torch.tensor([[[127], [-1]]])
    for dtype in (torch.int8, torch.int16, torch.int32):
        assert torch.equal(side(embeddings, ids.to(dtype)), side(embeddings, ids))
    assert torch.equal(side(embeddings, ids)[0, 0], side.tables["shells"].rows.weight[128])


def test_copies_and_pickles_are_equal():
    side = tables_of(TABLES)
    _, ids = batch()
    embeddings = torch.randn(*ids.shape[:2], WIDTH, dtype=torch.float64)
    for other in (copy.deepcopy(side), pickle.loads(pickle.dumps(side))):
        assert torch.equal(other(embeddings, ids), side(embeddings, ids))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "lacks its size"),
        ({"size": 3, "sise": 1}, "unknown field 'sise'"),
        ({"size": 0}, "size of side table"),
        ({"size": 3, "levels": True}, "levels of side table"),
        ({"size": 3, "mixing": "sum"}, "mixing of side table"),
        ({"size": 3, "weights": [1.0]}, "weights of side table"),
        ({"size": 3, "mixing": "concat", "trainable_weights": True}, "trainable_weights goes with"),
        ({"size": 3, "std": -1.0}, "std of side table"),
    ],
)
def test_wrong_tables_are_refused(table, message):
    with pytest.raises(Exception, match=message):
        SideChannelConfig(side_tables={"shells": table})
    for name in ("a.b", "keys", "training"):
        with pytest.raises(Exception, match="cannot be called"):
            SideChannelConfig(side_tables={name: {"size": 3}})
