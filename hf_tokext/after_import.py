"""Actions that run right after a module has been loaded, by whomever; nothing is imported for them."""

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import ClassVar

Action = Callable[[], None]


def when_loaded(module: str, action: Action) -> None:
    """Run an action: now if a module has been loaded, else right after it is.

    Args:
        module: its full name.
        action: what to do. Where it fails, its error is raised by the import, after all other actions have run (where the
            import itself fails, it is a note on that error); the next import of the module runs the others again.
    """
    present = sys.modules.get(module)
    # a module that is being loaded is in sys.modules already; its spec says so
    if present is not None and not getattr(present.__spec__, "_initializing", False):
        action()
    else:
        _Finder.actions.setdefault(module, []).append(action)
        _install()


def hold_back(modules: Iterable[str]) -> None:
    """Let no action run while one of some modules is being loaded.

    Args:
        modules: full names.
    """
    _Finder.held.update(modules)


def _install() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Loading(threading.local):
    """What one thread is in the middle of.

    Attributes:
        depth: watched modules being loaded, one inside the other.
        due: modules whose actions wait until the outermost is loaded; transformers loads its Auto classes from the
            middle of any config's module, when that module's own classes are not there yet.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.due: list[str] = []


class _Finder(MetaPathFinder):
    """Finds what others find, and has the actions follow.

    Attributes:
        actions: what to do after a module, by its name; kept, since a module whose import failed is loaded again.
        held: modules that hold actions back.
    """

    actions: ClassVar[dict[str, list[Action]]] = {}
    held: ClassVar[set[str]] = set()
    _looking: ClassVar[set[str]] = set()
    _loading = _Loading()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Give the module's own spec, its loader followed by the actions."""
        if fullname in self._looking or not (fullname in self.actions or fullname in self.held):
            return None
        self._looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking.discard(fullname)
        if spec is None or spec.loader is None:
            return None
        load, state = spec.loader.exec_module, self._loading

        def load_and_act(module: ModuleType) -> None:
            state.depth += 1
            errors: list[BaseException] = []
            try:
                load(module)
                state.due.append(fullname)
            except BaseException as error:
                errors.append(error)
            if state.depth == 1:
                errors += self._act(state.due)
            state.depth -= 1
            if errors:
                for other in errors[1:]:
                    errors[0].add_note(f"also: {other}")
                raise errors[0]

        spec.loader.exec_module = load_and_act  # type: ignore[method-assign]
        return spec

    def _act(self, due: list[str]) -> list[Exception]:
        errors: list[Exception] = []
        while due:  # an action may load more
            waiting = self.actions.get(due.pop(0), [])
            for action in list(waiting):
                try:
                    action()
                except Exception as error:  # one that fails must not keep the others from running
                    waiting.remove(action)
                    errors.append(error)
        return errors
