"""What happens to every id: one plan, whether objects or shards are edited."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hf_tokext.errors import VocabularyError
from hf_tokext.rows import row_method
from hf_tokext.vocabulary.alignment import align
from hf_tokext.vocabulary.pieces import Vocabulary
from hf_tokext.vocabulary.spelling import Speller

Overrides = Mapping[str, str | Sequence[int]]
SOURCES = ("override", "role", "anchor", "approximate", "compose", "fallback", "quiet")


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the row of every new id comes from.

    Attributes:
        base: the model's own vocabulary.
        target: the vocabulary that is put on.
        rows: rows of the new tables, padding included.
        method: name of the row method that makes the rows that cannot be copied.
        source: for every row one of override, role, anchor (copied), approximate (by the method, from the donor's
            or word-vector space), compose (by the method, from the base's own pieces), fallback (no spelling in the
            base: the mean row), quiet (never produced by the tokenizer, or padding: held at negligible probability).
        copied: new id to base id, for the rows that are copied.
        spelled: new id to base ids of the same bytes, for the rows that are made.
        warnings: what a user should know.
        keeps_ids: whether all ids of the base mean what they meant, as where the base's vocabulary was only extended.
    """

    base: Vocabulary
    target: Vocabulary
    rows: int
    method: str
    source: tuple[str, ...] = field(repr=False)
    copied: dict[int, int] = field(repr=False)
    spelled: dict[int, tuple[int, ...]] = field(repr=False)
    warnings: tuple[str, ...] = ()
    keeps_ids: bool = False

    @property
    def made(self) -> list[int]:
        """Ids whose rows are made rather than copied, in order."""
        return sorted(self.spelled)

    @property
    def quiet(self) -> list[int]:
        """Ids held at negligible probability, in order."""
        return [index for index, source in enumerate(self.source) if source == "quiet"]

    @property
    def counts(self) -> dict[str, int]:
        """How many ids come from where."""
        counted = Counter(self.source)
        return {source: counted[source] for source in SOURCES if counted[source]}


def make_plan(
    base: Vocabulary,
    target: Vocabulary,
    *,
    base_rows: int,
    method: str = "compose",
    overrides: Overrides | None = None,
    rows: int | None = None,
    multiple: int | None = None,
) -> Plan:
    """Decide where every new row comes from, in the order override, role, bytes, method, fallback.

    Args:
        base: the model's own vocabulary.
        target: the vocabulary to be put on.
        base_rows: rows of the model's tables; added tokens past them have none, such as Gemma 3's marker of images in its
            models of text, and are made like new ones.
        method: name of a registered row method.
        overrides: text of a new token to the base token or text whose rows it shall have, or to base ids, of whose rows
            it shall have the mean.
        rows: rows of the new tables; None for as many as there are ids.
        multiple: rounds the rows up to a multiple of this.

    Returns:
        The plan.

    Raises:
        VocabularyError: ids other than those of added tokens lie past the table, an override names an unknown token, or
            `rows` is too small.
    """
    same_names = base.named == target.named
    if not base.added.issuperset(index for index in base.ids if index >= base_rows):
        raise VocabularyError(
            f"the base's tokenizer has ids up to {len(base) - 1} but its embedding only {base_rows} rows; "
            "the tokenizer does not belong to this model"
        )
    base = base.first(base_rows)
    aligned = align(target, base)
    rows = _row_count(max(len(target), base_rows) if aligned.extends else len(target), len(target), rows, multiple)
    source = ["quiet"] * rows
    copied: dict[int, int] = {}
    spelled: dict[int, tuple[int, ...]] = {}
    chosen = _overrides(base, target, overrides or {})
    speller = Speller(base)
    ordinary = [i for i in target.ids if i not in chosen and i not in aligned.roles and i not in aligned.anchors]
    spelling = dict(zip(ordinary, speller.spell([target.piece(i) for i in ordinary]), strict=True))
    made_as = "approximate" if set(row_method(method).needs) & {"donor", "word_vectors"} else "compose"
    for index in target.ids:
        if index in chosen:
            source[index], (spelled[index], copies) = "override", chosen[index]
            if copies:
                copied[index] = spelled.pop(index)[0]
        elif index in aligned.roles:
            source[index], copied[index] = "role", aligned.roles[index]
        elif index in aligned.unreachable:
            continue
        elif index in aligned.anchors:
            source[index], copied[index] = "anchor", aligned.anchors[index]
        elif index in target.special or not spelling[index]:
            source[index], spelled[index] = "fallback", ()
        else:
            source[index], spelled[index] = made_as, spelling[index]
    if aligned.extends:  # the padding rows of the base stay what they are
        for index in range(min(rows, base_rows)):
            if source[index] == "quiet":
                source[index], copied[index] = "anchor", index
    kept = aligned.extends and same_names
    return Plan(base, target, rows, method, tuple(source), copied, spelled, aligned.warnings, kept)


def _row_count(usual: int, ids: int, rows: int | None, multiple: int | None) -> int:
    if rows is not None and rows < ids:
        raise VocabularyError(f"{rows} rows are too few for a tokenizer whose ids end at {ids - 1}")
    count = rows or usual
    if multiple is not None and multiple < 1:
        raise VocabularyError(f"the padding multiple must be at least 1, not {multiple}")
    return -(-count // multiple) * multiple if multiple else count


def _overrides(base: Vocabulary, target: Vocabulary, overrides: Overrides) -> dict[int, tuple[tuple[int, ...], bool]]:
    """For each id that is named the base ids, and whether it is a copy of the only one."""
    found = {}
    known = set(base.ids)
    for new, old in overrides.items():
        index = _id_of(target, new)
        if index is None:
            raise VocabularyError(f"the override {new!r}={old!r} names {new!r}, which is no token of the new tokenizer")
        if not isinstance(old, str):
            if not old or not known.issuperset(old):
                raise VocabularyError(f"the override {new!r}={list(old)}: the base's tokenizer has no such ids")
            found[index] = tuple(old), False
            continue
        single = _id_of(base, old)
        ids = (single,) if single is not None else Speller(base).spell([old.encode()])[0]
        if not ids:
            raise VocabularyError(f"the override {new!r}={old!r}: the base's tokenizer cannot spell {old!r}")
        found[index] = ids, len(ids) == 1
    return found


def _id_of(vocabulary: Vocabulary, text: str) -> int | None:
    by_text: Iterable[tuple[int, str]] = vocabulary.special.items()
    found = next((index for index, content in by_text if content == text), None)
    if found is None:
        found = vocabulary.id_of_text.get(text)
    return next(iter(vocabulary.ids_of_piece.get(text.encode(), ())), None) if found is None else found
