"""`tokext measure audio`: codecs of sounds, side by side."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_tokext.errors import CodecError

if TYPE_CHECKING:
    from hf_tokext.measure.audio_codecs import Recording


def audio(
    paths: Annotated[list[Path], typer.Argument(metavar="PATHS...", help="Recordings, or folders of them.")],
    codec: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FOLDER of a codec, ours or Encodec, DAC, Mimi or XCodec2 of transformers; repeat for more."
        ),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Also mu-law and linear samples of few bits, and the mean.")] = True,
    label: Annotated[
        str | None,
        typer.Option(help="What of a file's path in its folder is its label for the probe: a regex with one group."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="The same for whom it is from: the probe is judged by others than it learns from."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A CSV with the columns file (path in its folder, or name), label and, if wanted, group."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Recordings at most, taken evenly from all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Rate, use of codes, quality and what codes say, of codecs of sounds on your recordings."""
    from tqdm import tqdm

    from hf_tokext.measure.audio_codecs import BASELINES, Coder, ModelCoder, measure_audio
    from hf_tokext.training.codec_files import load_model
    from hf_tokext.transplant.checkpoint_source import local_folder

    folders: dict[str, str] = {}
    for entry in codec or []:
        name, equals, folder = entry.partition("=")
        if not equals or not name or not folder or name in folders or (baselines and name in BASELINES):
            raise CodecError(f"--codec {entry!r}: write NAME=FOLDER, each name once")
        folders[name] = folder
    if not folders and not baselines:
        raise CodecError("there is nothing to measure: give a --codec, or leave --no-baselines out")
    # codecs first: one that cannot be measured shall not cost the reading of recordings
    codecs: dict[str, Coder] = {name: ModelCoder(load_model(local_folder(each))) for name, each in folders.items()}
    codecs |= BASELINES if baselines else {}
    recordings, bad = _recordings(paths, label, group, labels, limit)
    with tqdm(desc="recordings", unit="") as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = measure_audio(codecs, recordings, show)
    if as_json:
        rows = [{name: None if each != each else each for name, each in row.to_dict().items()} for row in found]
        print(json.dumps({"codecs": rows, "recordings": len(recordings), "bad": bad}, indent=2))
        return
    _print_table(found)
    for path, reason in bad.items():
        print(f"left out: {path}: {reason}")


def _print_table(found: list[Any]) -> None:
    from hf_tokext.cli.measure import aligned

    head = ("codec", "codebooks", "tokens/s", "bits/s", "used", "perplexity", "SI-SNR", "SDR", "STOI", "mel", "probe")
    table = [head]
    for row in found:
        probe = "" if row.probe is None else f"{row.probe:.1%}"
        coded = (f"{row.used:.1%}", f"{row.perplexity:.1f}") if row.codebooks else ("", "")
        quality = (f"{row.si_snr:.2f}", f"{row.sdr:.2f}", f"{row.stoi:.3f}", f"{row.mel:.3f}")
        rates = (str(row.codebooks), f"{row.tokens_per_second:,.1f}", f"{row.bits_per_second:,.0f}")
        table.append((row.codec, *rates, *coded, *quality, probe))
    print(aligned(table))


def _recordings(
    paths: list[Path], label: str | None, group: str | None, labels: Path | None, limit: int | None
) -> tuple[list["Recording"], dict[str, str]]:
    """The recordings that can be used, and why others cannot."""
    from hf_tokext.measure.audio_codecs import Recording
    from hf_tokext.models.speech_codec.feature_extraction_speech_codec import read_audio
    from hf_tokext.training.codec_files import find_files

    files: list[tuple[Path, Path]] = []  # and how labels know it
    for path in paths:
        inside = find_files(path, "audio")[1] if path.is_dir() else [path]
        files += [(file, file.relative_to(path) if path.is_dir() else Path(file.name)) for file in inside]
    if limit is not None and limit < len(files):
        files = [files[number * len(files) // limit] for number in range(limit)]
    known = _table(labels, [known for _, known in files]) if labels is not None else {}
    patterns = (_pattern("--label", label), _pattern("--group", group))
    found, bad = [], {}
    for path, short in files:
        try:
            wave, rate = read_audio(path, downmix=True)
        except CodecError as error:
            bad[str(path)] = str(error)
            continue
        if not (wave != wave[0]).any():
            bad[str(path)] = "it is silent"
            continue
        said = known.get(short.as_posix()) or known.get(short.name) or (None, None)
        named = [match[1] if pattern and (match := pattern.search(short.as_posix())) else None for pattern in patterns]
        found.append(Recording(str(path), wave, rate, said[0] or named[0], said[1] or named[1]))
    if not found:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in list(bad.items())[:3])
        raise CodecError(
            f"there are no recordings that can be measured. {reasons or 'Give WAV, FLAC, Ogg or MP3 files.'}"
        )
    return found, bad


def _pattern(option: str, given: str | None) -> re.Pattern[str] | None:
    try:
        found = re.compile(given) if given else None
    except re.error as error:
        raise CodecError(f"{option} {given!r} is no regular expression: {error}") from error
    if found and found.groups != 1:
        raise CodecError(f"{option} {given!r} needs one group in parentheses, such as '^([^_]+)_'")
    return found


def _table(path: Path, files: list[Path]) -> dict[str, tuple[str, str | None]]:
    """Labels and groups by the path or name of a file; a name that several files have tells nothing."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file) if row.get("file")]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CodecError(f"{path} cannot be read as a table: {error}") from error
    if not rows or "label" not in rows[0]:
        raise CodecError(f"{path} needs a first line that names the columns file and label")
    found = {Path(row["file"]).as_posix(): (row["label"], row.get("group") or None) for row in rows}
    names = Counter(each.name for each in files if each.as_posix() not in found)
    several = next((name for name, count in names.items() if count > 1 and name in found), None)
    if several or len(found) < len(rows):
        raise CodecError(
            f"{path} names {several or 'a file'} for several recordings: write each one's path in its folder, once"
        )
    return found
