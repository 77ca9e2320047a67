import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rdkit")
pytest.importorskip("selfies")
from rdkit import Chem

from hf_tokext.errors import TextError
from hf_tokext.models.molecule import bracket
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.grammar_smiles import ATOMS, BONDS, RINGS
from hf_tokext.models.molecule.tokenization_molecule import MoleculeTokenizer

SELFIES, SMILES = MoleculeDomain(), MoleculeDomain("smiles")
RARE = ["[Na+].CC(=O)[O-]", "[13CH3]C[Fe+2]C", "N[C@@H](C)C(=O)O", "F/C=C/F", "C1CC2CCC1CC2", "[2H]OC", "OB(O)c1ccccc1"]


@pytest.mark.parametrize("smiles", RARE)
@pytest.mark.parametrize("domain", [SELFIES, SMILES], ids=["selfies", "smiles"])
def test_round_trip(domain, smiles):
    text = domain.from_smiles(smiles)
    assert domain.write(domain.parse(text)) == text
    assert Chem.CanonSmiles(domain.to_smiles(text)) == Chem.CanonSmiles(smiles)


@pytest.mark.parametrize(
    "text",
    ["", "C1CC", "C(C", "C11", "C12CC12", "C=", "[C", "C)", "[Xx]", "C.", "C" * 100_001, "é", "C(=1)CC=1", "C(#1CC)CC1"]
    + ["C(1CC)CC1", "C(C1)1", "C1C(C)1", "C1(CC12)2", "C()C", "C-(C)C"]
    + ["[C:09]", "[C:00]", "[H@]C", "[2H@@H]", "[0C]", "[C+0]", "[CH9+100]"],
)
def test_what_is_no_smiles_is_refused(text):
    with pytest.raises(TextError):
        SMILES.parse(text)


@pytest.mark.parametrize("text", ["", "C", "[C", "[C][Xx]", "[Branch1][C]", "[C].", "[CH9]", "[C]<>"])
def test_what_is_no_selfies_is_refused(text):
    with pytest.raises(TextError):
        SELFIES.parse(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(SELFIES.tokens) - 1), max_size=60))
def test_any_selfies_ids_make_a_molecule(ids):
    text = SELFIES.write(ids)
    assert Chem.MolFromSmiles(SELFIES.to_smiles(text)).GetNumAtoms() > 0
    assert SELFIES.write(SELFIES.parse(text)) == text


@pytest.mark.parametrize(
    "smiles", ["C(C)1CC1", "C(C)=1CC=1", "C(C)1(CC1)C", "C1(CCC12)CC2", "C(CC1)CC1", "C(F)(Cl)1CO1"]
)
def test_rings_may_stand_behind_branches(smiles):
    assert SMILES.write(SMILES.parse(smiles)) == smiles
    assert Chem.MolFromSmiles(smiles) is not None


@pytest.mark.parametrize("smiles", ["[CH3:0]C", "[CH3:10]C", "[HH]", "[2H+]", "[13CH4+2:999]", "[He@H]"])
def test_brackets(smiles):
    assert SMILES.write(SMILES.parse(smiles)) == smiles
    assert Chem.MolFromSmiles(smiles, sanitize=False) is not None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=40), st.integers(0, 6))
def test_what_there_is_room_for_is_what_the_end_is_near_enough_to(choices, spare):
    grammar = SMILES.grammar
    state = grammar.advance(grammar.start(), 0)
    for choice in choices:
        allowed = np.flatnonzero(grammar.allowed(state))
        room = grammar.distance(state) + spare
        needs = np.array([1 + grammar.distance(grammar.advance(state, int(index))) for index in allowed])
        assert np.flatnonzero(grammar.within(state, room)).tolist() == allowed[needs <= max(room, needs.min())].tolist()
        state = grammar.advance(state, int(allowed[choice % len(allowed)]))
        if grammar.complete(state):
            break


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, len(SMILES.tokens) - 1), max_size=60))
def test_any_smiles_ids_make_well_formed_smiles(ids):
    text = SMILES.write(ids)
    assert Chem.MolFromSmiles(text, sanitize=False) is not None
    assert SMILES.write(SMILES.parse(text)) == text


@pytest.mark.parametrize("notation", ["selfies", "smiles"])
def test_a_saved_tokenizer_is_the_same(tmp_path, notation):
    tokenizer = MoleculeTokenizer(domain_settings={"notation": notation})
    tokenizer.save_pretrained(tmp_path)
    loaded = MoleculeTokenizer.from_pretrained(tmp_path)
    text = loaded.domain.from_smiles("CC(=O)[O-].[Na+]")
    assert loaded(text).input_ids == tokenizer(text).input_ids
    assert loaded.decode(loaded(text).input_ids) == text


@pytest.mark.parametrize(
    ("notation", "text", "message"),
    [
        ("selfies", "CCO", "no SELFIES symbol, .* from_smiles gives"),
        ("smiles", "C1CC", "ends too early; is a ring"),
        ("smiles", "C(C", "ends too early"),
        ("smiles", "CC)C", r"token 3, '\)', may not stand"),
    ],
)
def test_what_is_wrong_is_said_for_people(notation, text, message):
    with pytest.raises(TextError, match=message):
        MoleculeDomain(notation).parse(text)


def may_follow(state):
    """Names of the tokens that may follow in SMILES, said of the whole state."""
    if state.phase == "bracket":
        inside = [*bracket.ELEMENTS, *bracket.AROMATIC, *bracket.DIGITS, *bracket.CHIRAL, "*", "+", "-", ":"]
        return {each for each in inside if bracket.step(state.place, each)} | (
            {"]"} if bracket.may_end(state.place) else set()
        )
    found = {*ATOMS, "["}
    if state.phase in ("atom", "bond"):
        found |= set(RINGS)
        for number, atom, bond in state.rings:
            sides = {bond, state.bond} - {""}
            if atom == state.atom or atom in state.bound or not (len(sides) < 2 or sides <= {"/", "\\"}):
                found.remove(number)
    if state.phase in ("atom", "branch"):
        found |= set(BONDS)
    if state.phase == "atom":
        found |= {"(", ")"} if state.branches else {"(", "."} if state.rings else {"(", ".", "close"}
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2**30)), max_size=40))
def test_what_may_follow_is_kept_by_all_that_it_depends_on(choices):
    grammar, likely = SMILES.grammar, ["C", "=", "/", "\\", "(", ")", "ring1", "ring2", ".", "[", "]", "N", "+", "1"]
    state = grammar.advance(grammar.start(), 0)
    for common, choice in choices:
        allowed = grammar.allowed(state)
        assert {SMILES.tokens[index] for index in np.flatnonzero(allowed)} == may_follow(state)
        with pytest.raises(ValueError, match="read-only"):
            allowed[0] = True
        index = SMILES.index(likely[choice % len(likely)]) if common else choice % grammar.size
        if index > 1 and allowed[index]:
            state = grammar.advance(state, index)
