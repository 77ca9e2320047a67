"""Where a run of digits is cut, as regular expressions that take time linear in the run's length.

The obvious lookahead, "a multiple of three digits follows", asked at every group, is quadratic. Here it is asked once a
run, at its start, for the one or two digits that come before the whole groups of three; from there on a search that
goes from left to right needs only "three digits, and one more follows". No possessive or atomic groups: the patterns
mean the same in Oniguruma, in fancy-regex and in JavaScript, and the lookahead inside a lookahead keeps the engine from
backtracking through the run.
"""

SCHEMES = ("single", "left3", "right3")
# A point after a letter or another point starts no fraction, nor does a second point: dates, versions, addresses.
LONGEST_MIDDLE = 6

_SECOND_POINT = "|".join(rf"(?<=\.[0-9]{{{length}}}\.)" for length in range(1, LONGEST_MIDDLE + 1))
_WHOLE_NUMBER = rf"(?<![0-9])(?:(?<!\.)|(?<=[A-Za-z.]\.)|{_SECOND_POINT})"
_THREES_TO_THE_END = r"(?=(?=((?:[0-9]{3})+))\1(?![0-9]))"


def group_width(scheme: str) -> int:
    """Digits of the longest group of a scheme."""
    return 1 if scheme == "single" else 3


def groups(scheme: str) -> str:
    """Pattern of one group, in text whose runs of digits have been cut."""
    return "[0-9]" if scheme == "single" else "[0-9]{1,3}"


def ends_before_more(scheme: str) -> str:
    """Pattern of the groups that are followed by another group of the same run; their ends are the cuts."""
    if scheme == "single":
        return "[0-9](?=[0-9])"
    # a digit of another script before the run is cut off too: a pattern like \p{N}{1,3} would count it
    left = r"[0-9]{3}(?=[0-9])|(?![0-9])\p{N}(?=[0-9])"
    return left if scheme == "left3" else f"{_WHOLE_NUMBER}[0-9]{{1,2}}{_THREES_TO_THE_END}|{left}"


def empty_between(scheme: str) -> str:
    """Pattern of the empty strings at these same cuts, for a normalizer that writes something there."""
    if scheme == "single":
        return "(?<=[0-9])(?=[0-9])"
    left = r"[0-9]{3}\K(?=[0-9])"
    return left if scheme == "left3" else rf"{_WHOLE_NUMBER}[0-9]{{1,3}}?\K{_THREES_TO_THE_END}|{left}"
