"""Talking to the Hub: what may pass is tried again, what remains is one of our errors with what to do about it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

from hf_tokext.errors import (
    CheckpointError,
    HubError,
    HubReadOnlyError,
    HubTokenError,
    HubUnavailableError,
    RepositoryClashError,
    TokextError,
)

T = TypeVar("T")
MOVED_ON = 412  # somebody else committed in between
PASSING = (408, MOVED_ON, 429)
LONGEST = 30.0  # seconds between two attempts


def patiently(action: Callable[[], T], repo_id: str, retries: int) -> T:
    """Do something with the Hub; again where the Hub fails, hangs up, or somebody else was faster.

    Args:
        action: something that can be done again from its start.
        repo_id: the repository, for messages.
        retries: further attempts, with 1, 2, 4, ... seconds in between.

    Returns:
        What `action` returns.

    Raises:
        HubError: one of its kinds.
        CheckpointError: a file here cannot be read.
    """
    for attempt in range(retries + 1):
        try:
            return action()
        except TokextError:
            raise
        except (HTTPError, OSError, ValueError, RuntimeError) as error:
            if _is_local(error):
                raise CheckpointError(f"a file could not be read ({error}); nothing was committed") from error
            if attempt == retries or not _passes(error):
                raise _named(error, repo_id) from error
        time.sleep(min(2.0**attempt, LONGEST))
    raise HubUnavailableError(f"{repo_id}: no attempt was made")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it: the client wraps a failed upload into a RuntimeError."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _status(error: BaseException) -> int | None:
    codes = (each.response.status_code for each in _chain(error) if isinstance(each, HfHubHTTPError))
    return next(codes, None)


def _is_local(error: BaseException) -> bool:
    """Whether a file here was the trouble, such as one that vanished."""
    return any(isinstance(each, OSError) and each.filename is not None for each in _chain(error))


def _hung_up(error: BaseException) -> bool:
    """Whether there was no answer, or one that only a gateway in trouble gives (no JSON)."""
    if any(isinstance(each, OfflineModeIsEnabled) for each in _chain(error)):
        return False
    return _status(error) is None and any(
        isinstance(each, HTTPError | ConnectionError | TimeoutError | json.JSONDecodeError) for each in _chain(error)
    )


def _passes(error: BaseException) -> bool:
    status = _status(error)
    return _hung_up(error) if status is None else status in PASSING or status >= 500


def _named(error: BaseException, repo_id: str) -> HubError:
    status, said = _status(error), _said(error)
    if _hung_up(error):
        return HubUnavailableError(
            f"the Hub could not be reached, or hung up ({said}); nothing was committed: try again"
        )
    if status is not None and (status >= 500 or status in (408, 429)):
        return HubUnavailableError(f"the Hub failed at every attempt ({said}); nothing was committed: try again later")
    if any(isinstance(each, OfflineModeIsEnabled) for each in _chain(error)):
        return HubUnavailableError("the Hub is switched off here: unset HF_HUB_OFFLINE")
    if status == 401 or isinstance(error, LocalTokenNotFoundError):
        return HubTokenError(
            f"the Hub does not accept the token for {repo_id} ({said}): `hf auth login`, or set HF_TOKEN"
        )
    if status == 403:
        return HubReadOnlyError(
            f"the token may not write to {repo_id} ({said}): use one with write access, or another name"
        )
    if status == 409:
        return RepositoryClashError(f"the name {repo_id} is taken ({said}): choose another")
    if status == MOVED_ON:
        return RepositoryClashError(f"somebody else commits to {repo_id} all the time ({said}): try again later")
    return HubError(f"the Hub refused to take {repo_id}: {said}")


def _said(error: BaseException) -> str:
    """What was wrong, in one line, from the innermost cause on."""
    inner = list(_chain(error))[-1]
    if isinstance(inner, HfHubHTTPError) and inner.server_message:
        return f"{inner.response.status_code}: {' '.join(inner.server_message.split())}"
    http = next((each for each in _chain(error) if isinstance(each, HfHubHTTPError)), inner)
    return " ".join(str(http).split()) or type(http).__name__
