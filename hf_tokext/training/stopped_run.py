"""Where a training keeps what a stopped run is resumed from."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME

from hf_tokext.errors import CheckpointError, OutputExistsError

SETTINGS = "run.json"


def work_folder(target: Path) -> Path:
    """Name the folder in which a run towards `target` keeps its checkpoints.

    Args:
        target: the folder that the result will be.

    Returns:
        A hidden folder beside it, which may not exist.

    Raises:
        OutputExistsError: something that is no run of ours lies there.
    """
    whole = target.expanduser().resolve()
    folder = whole.with_name(f".{whole.name}.tokext-training")
    ours = folder.is_dir() and not folder.is_symlink() and ((folder / SETTINGS).is_file() or not any(folder.iterdir()))
    if (folder.exists() or folder.is_symlink()) and not ours:
        raise OutputExistsError(
            f"{folder} is needed for the checkpoints of this run but holds something else: move it away, or choose "
            "another --output"
        )
    return folder


def forget(training: Path) -> None:
    """Remove a run's checkpoints; a folder without our settings is not touched.

    Args:
        training: what `work_folder` named.
    """
    if (training / SETTINGS).is_file() and not training.is_symlink():
        shutil.rmtree(training, ignore_errors=True)


def last_checkpoint(folder: Path, resume: bool, settings: dict[str, Any]) -> str | None:
    """Find the checkpoint to go on from; write down the settings of a new run, or hold them against those written down.

    Args:
        folder: of the run's checkpoints; it is made.
        resume: whether a stopped run is gone on with.
        settings: what must be the same then; JSON can hold it.

    Returns:
        The last checkpoint's folder; None for a new run.

    Raises:
        OutputExistsError: there is a stopped run, and `resume` is off.
        CheckpointError: the stopped run had other settings.
    """
    noted = folder / SETTINGS
    last = _last_whole(folder)
    if last is not None and not resume:
        raise OutputExistsError(f"{folder} holds the checkpoints of a stopped run; resume it, or remove the folder")
    if last is not None:
        try:
            before = json.loads(noted.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{noted} is missing or damaged: remove {folder} and start again") from error
        other = [name for name in settings if before.get(name) != settings[name]]
        if other:
            raise CheckpointError(
                f"the stopped run in {folder} differs in {', '.join(other)}; give the same options and data, "
                "or remove the folder and start again"
            )
        return str(last)
    folder.mkdir(parents=True, exist_ok=True)
    noted.write_text(json.dumps(settings), encoding="utf-8")
    return None


def _last_whole(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end, which is where the trainer's state is written."""
    whole = [each for each in folder.glob("checkpoint-*") if (each / TRAINER_STATE_NAME).is_file()]
    return max(whole, key=lambda each: int(each.name.rpartition("-")[2]), default=None)
