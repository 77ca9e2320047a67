"""The filled model card of every checkpoint that a script here rebuilds, kept in model_cards/filled/.

    python scripts/cards.py            # from the results that lie in out/
    python scripts/cards.py --run      # runs the scripts first, which takes minutes

A filled card is the one that the run wrote into its checkpoint, out of its own report and measurements, and a line on
how to get the checkpoint. No figure is written by hand: a card that somebody changed is refused.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from samples import SAMPLES

from hf_tokext.hub.cards import CARD, MARK, is_generated

ROOT = Path(__file__).resolve().parents[1]
FILLED = ROOT / "model_cards" / "filled"
SCRIPT = re.compile(r"`bash (scripts/[\w/.-]+)`")
PLACE_OF_A_MACHINE = re.compile(r"(?<![\w.:/-])(?:/(?:home|root|Users|tmp|var|mnt|opt|work)/|~/|[A-Za-z]:[\\/](?!/))")


class Rebuilt(NamedTuple):
    """A checkpoint: the script that makes it, where that leaves it below out/, and the sample it starts from."""

    script: str
    folder: str
    base: str


CHECKPOINTS = {
    "smollm2-python-healed": Rebuilt("scripts/quickstart.sh", "quickstart/smollm2-python-healed", "smollm2-135m"),
}


def filled(card: str, rebuilt: Rebuilt) -> str:
    """A checkpoint's card as it is kept here.

    Args:
        card: the text that the run wrote.
        rebuilt: where the checkpoint comes from.

    Returns:
        The text, with how to rebuild the checkpoint below its title.

    Raises:
        ValueError: somebody changed the card, it has no measurements, or it does not fit here (`problems`).
    """
    if not is_generated(card):
        raise ValueError("it is not as the run wrote it")
    if "\n## Measured\n" not in card:
        raise ValueError("it has no measurements")
    base = SAMPLES[rebuilt.base]
    how = (
        f"Rebuilt by `bash {rebuilt.script}`. `{rebuilt.base}` is {base.what}, "
        f"from `python scripts/samples.py {rebuilt.base}`; licence as its package states it: {base.licence}."
    )
    text, titles = re.subn(r"^# .*$", lambda title: f"{title[0]}\n\n{how}", MARK.sub("", card), count=1, flags=re.M)
    found = problems(text) if titles else ["it has no title"]
    if found:
        raise ValueError("; ".join(found))
    return text


def problems(text: str) -> list[str]:
    """What a filled card must not be.

    Args:
        text: the card.

    Returns:
        What is wrong with it, in words; empty where nothing is.
    """
    script = SCRIPT.search(text)
    found = [] if script else ["it does not say which script rebuilds it"]
    if script and not (ROOT / script[1]).is_file():
        found.append(f"there is no {script[1]}")
    return found + [f"{place!r} is a place on a machine" for place in PLACE_OF_A_MACHINE.findall(text)]


def main() -> int:
    """Refresh the cards, and say which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the scripts first")
    parser.add_argument("--results", type=Path, default=ROOT / "out", help="where the scripts leave their results")
    arguments = parser.parse_args()
    failed = 0
    for name, rebuilt in CHECKPOINTS.items():
        folder = arguments.results / rebuilt.folder
        if arguments.run:
            subprocess.run(["bash", ROOT / rebuilt.script, folder.parent], check=True)
        try:
            text = filled((folder / CARD).read_text(encoding="utf-8"), rebuilt)
        except (OSError, ValueError) as error:
            print(f"{name}: {folder / CARD}: {error}; run `bash {rebuilt.script}` (or --run)", file=sys.stderr)
            failed += 1
            continue
        FILLED.mkdir(exist_ok=True)
        (FILLED / f"{name}.md").write_text(text, encoding="utf-8", newline="\n")
        print(f"model_cards/filled/{name}.md, from {folder / CARD}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
