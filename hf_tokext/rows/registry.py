"""The registry of row methods."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.problem import RowProblem, Rows

BUILT_IN = ("centred", "compose", "mean", "neighbours", "normal", "omp", "ridge", "zero")
NEEDS = ("donor", "word_vectors")


@dataclass(frozen=True)
class RowMethod:
    """A named way to make rows.

    Attributes:
        name: what users type.
        function: takes a `RowProblem` and the method's own options, returns `Rows`.
        needs: attributes of `RowProblem` that must not be None.
    """

    name: str
    function: Callable[..., Rows]
    needs: tuple[str, ...] = ()


_METHODS: dict[str, RowMethod] = {}


def register_row_method(
    name: str, *, needs: tuple[str, ...] = ()
) -> Callable[[Callable[..., Rows]], Callable[..., Rows]]:
    """Register a function as the row method `name`; used as a decorator.

    Args:
        name: what users type; must be new, or name the same function again.
        needs: "donor", "word_vectors" or both: what the method cannot do without.

    Returns:
        A decorator that registers a function and returns it unchanged.

    Raises:
        RowMethodError: the name is taken by another function, or a need is unknown.
    """
    unknown = set(needs) - set(NEEDS)
    if unknown:
        raise RowMethodError(f"row method {name!r} needs unknown things: {sorted(unknown)}; known: {NEEDS}")

    def register(function: Callable[..., Rows]) -> Callable[..., Rows]:
        known = _METHODS.get(name)
        if known is not None and known.function is not function:
            raise RowMethodError(f"row method {name!r} is registered already; choose another name")
        _METHODS[name] = RowMethod(name, function, needs)
        return function

    return register


def row_method(name: str) -> RowMethod:
    """Look a method up.

    Args:
        name: one of `row_methods()`.

    Returns:
        The method.

    Raises:
        RowMethodError: no method bears the name.
    """
    if name not in _METHODS and name in BUILT_IN:
        import_module(f"hf_tokext.rows.{name}")
    if name not in _METHODS:
        raise RowMethodError(f"unknown row method {name!r}; known: {', '.join(row_methods())}")
    return _METHODS[name]


def row_methods() -> list[str]:
    """Names of all methods, sorted."""
    return sorted({*BUILT_IN, *_METHODS})


def make_rows(method: str, problem: RowProblem, **options: Any) -> Rows:
    """Make the wanted rows of one matrix with a named method.

    Args:
        method: a name from `row_methods()`.
        problem: the matrix, the anchors and the wanted ids.
        **options: the method's own options, see its function.

    Returns:
        The rows, finite, in the order of `problem.wanted`.

    Raises:
        RowMethodError: the method or an option is unknown, or of a wrong type, the method lacks what it needs, or made rows of wrong shape
            or not finite.
    """
    chosen = row_method(method)
    taken = dict(list(inspect.signature(chosen.function).parameters.items())[1:])  # the first is the problem
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        unknown = [name for name in options if name not in taken]
        if unknown:
            known = f"its options are {', '.join(taken)}" if taken else "it has none"
            raise RowMethodError(f"row method {method!r} has no option {unknown[0]!r}; {known}")
    missing = [need for need in chosen.needs if getattr(problem, need) is None]
    if missing:
        raise RowMethodError(f"row method {method!r} needs {', '.join(missing)}; choose another method or provide it")
    try:
        rows = chosen.function(problem, **options)
    except TypeError as error:
        if not options:
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise RowMethodError(f"row method {method!r} cannot work with {given} ({error}); give other values") from error
    expected = (len(problem.wanted), problem.base.shape[1])
    if tuple(rows.values.shape) != expected:
        raise RowMethodError(f"row method {method!r} returned rows {tuple(rows.values.shape)}, expected {expected}")
    if not bool(rows.values.isfinite().all()):
        raise RowMethodError(f"row method {method!r} made rows that are not finite")
    return rows
