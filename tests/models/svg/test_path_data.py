import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_tokext.errors import TextError
from hf_tokext.models.svg.path_data import read_numbers, read_path, snap_path


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("M10-20.5.5L1e1,2E-1z", [("M", [10, -20.5])]),  # .5 alone is no point: up to the error
        ("M.5.5-1+2", [("M", [0.5, 0.5]), ("L", [-1, 2])]),
        ("m1 2 3 4", [("m", [1, 2]), ("l", [3, 4])]),
        ("M0,0a25 25 0 011 40", [("M", [0, 0]), ("a", [25, 25, 0, 0, 1, 1, 40])]),
        ("M0 0A1 2 30 1,0.5.5", [("M", [0, 0]), ("A", [1, 2, 30, 1, 0, 0.5, 0.5])]),
        ("M0 0a1 1 0 0 2 1 1", [("M", [0, 0])]),  # 2 is no flag
        ("M1 1zm2 2", [("M", [1, 1]), ("z", []), ("m", [2, 2])]),
        ("M1 1z5 5", [("M", [1, 1]), ("z", [])]),
        ("M1. 2.e1H3V4", [("M", [1, 20]), ("H", [3]), ("V", [4])]),
        ("", []),
        ("none", []),
        ("1 2", []),
    ],
)
def test_the_grammar_of_path_data(text, segments):
    assert list(read_path(text)) == segments


def test_lists_of_numbers():
    assert read_numbers(" 1,2 -3.5.5e1\n") == [1, 2, -3.5, 5]
    assert read_numbers("1 2px") is None and read_numbers("") == []
    with pytest.raises(TextError, match="too large"):
        read_numbers("1e999")


def ends(text):
    """Ends of the segments, absolute: by hand, apart from the lexer's user."""
    here = start = (0.0, 0.0)
    found = []
    for command, group in read_path(text):
        x, y = here if command.islower() else (0.0, 0.0)
        kind = command.upper()
        if kind == "Z":
            here = start
        elif kind == "H":
            here = (x + group[0], here[1])
        elif kind == "V":
            here = (here[0], y + group[0])
        else:
            here = (x + group[-2], y + group[-1])
        start = here if kind == "M" else start
        found.append(here)
    return found


numbers = st.floats(-40, 40).map(lambda value: f"{value:.4f}")
counts = {"L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0, "M": 2}
segments = st.sampled_from([*counts, *(letter.lower() for letter in counts)]).flatmap(
    lambda letter: st.lists(numbers, min_size=counts[letter.upper()], max_size=counts[letter.upper()]).map(
        lambda group: letter + " ".join(group)
    )
)


@settings(max_examples=150, deadline=None)
@given(path=st.lists(segments, max_size=20).map("".join), step=st.sampled_from([0.03125, 0.5, 1 / 3]))
def test_no_end_of_a_segment_moves_by_more_than_half_a_step(path, step):
    text = "M1 1" + path
    words = [item if isinstance(item, str) else repr(item * step) for item in snap_path(text, step)]
    pairs = list(zip(ends(text), ends(" ".join(words)), strict=True))
    assert pairs and max(abs(a - b) for old, new in pairs for a, b in zip(old, new, strict=True)) <= step / 2 + 1e-9


@pytest.mark.parametrize("radius", [10.2, 10.24, 10.26, 10.3, 10.4])
def test_half_a_circle_stays_half_a_circle(radius):
    items = list(snap_path(f"M{20 - radius} 20a{radius} {radius} 0 1 1 {2 * radius} 0", 0.5))
    chord, found = items[-2], items[items.index("a") + 1]
    height = max(0, found**2 - (chord / 2) ** 2) ** 0.5  # of its centre above the chord, in steps
    assert height <= 0.5 and abs(found * 0.5 - radius) <= 0.75
    text = " ".join(
        str(item * 0.5)
        if isinstance(item, int)
        else item
        if isinstance(item, str)
        else "0"
        if item[0] == "turn"
        else "1 1"
        for item in items
    )
    assert list(snap_path(text, 0.5)) == items
