"""Running a model, or a part of one, as in evaluation, whatever mode it is in."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(part: nn.Module) -> Iterator[None]:
    """Switch off what is random in training, such as dropout, for a while.

    Args:
        part: every module of it gets its own mode back.

    Yields:
        Nothing.
    """
    training = [module for module in part.modules() if module.training]
    try:
        part.eval()
        yield
    finally:
        for module in training:
            module.training = True
