"""What the quantised mode of `SVGDomain` costs and saves on Debian's drawings.

    python scripts/repro_svg_quantised.py                     # all sets of repro_svg.py
    python scripts/repro_svg_quantised.py --files 40 --grid 256

Of each file: whether it is read, and reading what is written gives the same tokens; how far points of shapes have moved, in
steps of the view box, all transforms taken into account (turns and flags of arcs aside); how the pictures of cairosvg at
64 pixels differ (mean of |difference| of 255, over red, green, blue and alpha); and the tokens on held-out files beside a
byte-level BPE of 8,192 ids trained on the files of the other names as they are, and one trained on the cleaned drawings.
Needs cairosvg, pillow and tinycss2. The exit code is 1 where a point moved by more than half a step or tokens differ.
"""

import argparse
import io
import random
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from repro_svg import LONGEST, SETS, bpe, drawings, generation, mutants, pixels

from hf_tokext.errors import TokextError
from hf_tokext.models.svg.cleaning import Event, cleaned
from hf_tokext.models.svg.domain import SVGDomain
from hf_tokext.models.svg.grid import NUMBERS, SHAPES
from hf_tokext.models.svg.path_data import read_numbers, read_path
from hf_tokext.models.svg.reading import read_xml
from hf_tokext.models.svg.view import FUNCTION, step_inside


def matrix_of(transform: str) -> np.ndarray:
    """Linear part of a transform, [2, 2]."""
    found = np.eye(2)
    for kind, inside in FUNCTION.findall(transform):
        numbers = read_numbers(inside) or [0.0]
        turn = np.radians(numbers[0])
        found = (
            found
            @ {
                "matrix": lambda n=numbers: np.array([[n[0], n[2]], [n[1], n[3]]]),
                "scale": lambda n=numbers: np.diag([n[0], n[-1]]),
                "translate": lambda: np.eye(2),
                "rotate": lambda a=turn: np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]),
                "skewX": lambda a=turn: np.array([[1, np.tan(a)], [0, 1]]),
                "skewY": lambda a=turn: np.array([[1, 0], [np.tan(a), 1]]),
            }[kind]()
        )
    return found


def points(element: str, key: str, value: str) -> list[tuple[float, float]]:
    """Points of an attribute in the element's own units; those of paths absolute."""
    if key == "points":
        numbers = read_numbers(value) or []
        return list(zip(numbers[::2], numbers[1::2], strict=False))
    if key != "d":
        number = read_numbers(value.strip().removesuffix("px")) if element in SHAPES and key in NUMBERS else None
        return [(number[0], 0.0)] if number and len(number) == 1 else []
    found, here, start = [], (0.0, 0.0), (0.0, 0.0)
    for command, group in read_path(value):
        base = here if command.islower() else (0.0, 0.0)
        kind = command.upper()
        if kind == "Z":
            here = start
        elif kind == "H":
            here = base[0] + group[0], here[1]
        elif kind == "V":
            here = here[0], base[1] + group[0]
        else:
            group = group[5:] if kind == "A" else group
            new = [(base[0] + x, base[1] + y) for x, y in zip(group[::2], group[1::2], strict=True)]
            found += new
            here = new[-1]
        start = here if kind == "M" else start
        found.append(here)
    return found


def moved(text: str, written: str, grid: int) -> float:
    """Farthest that a coordinate of a shape moved along its own axes, seen in the view box, in steps."""
    events: list[Event] = []
    read_xml(
        text, lambda name, attributes: events.append(Event(name, attributes)), lambda: events.append(Event()),
        lambda run: events.append(Event(text=run)),
    )  # fmt: skip
    new = iter(ElementTree.fromstring(written).iter())
    stack: list[tuple[np.ndarray, float]] = []
    worst = 0.0
    for event in cleaned(events):
        if event.text is not None:
            continue
        if not event.name:
            stack.pop()
            continue
        matrix, step = stack[-1] if stack else (np.eye(2), 0.0)
        if not stack or "viewBox" in event.attributes or "objectBoundingBox" in content_units(event.attributes):
            matrix, step = np.eye(2), step_inside(event.attributes, step or None, grid)
        else:
            own = event.attributes
            matrix = matrix @ matrix_of(own.get("transform") or own.get("patternTransform", ""))
        stack.append((matrix, step))
        after = next(new)
        for key, value in event.attributes.items():
            old = points(event.name, key, value)
            if old:
                differences = np.array(points(event.name, key, after.get(key, ""))) - np.array(old)
                longest = np.abs(differences).max(initial=0) * np.linalg.norm(matrix, 2)
                worst = max(worst, float(longest) / step)
    return worst


def content_units(attributes: dict[str, str]) -> set[str]:
    """What the content of a clip, mask or pattern is measured in."""
    return {attributes.get(key, "") for key in ("clipPathUnits", "maskContentUnits", "patternContentUnits")}


def picture(text: str) -> np.ndarray:
    """Pixels of a drawing, [64, 64, 4]."""
    return np.asarray(Image.open(io.BytesIO(pixels(text))).convert("RGBA"), dtype=float)


def measure(domain: SVGDomain, grid: int, name: str, paths: list[Path]) -> bool:
    """Print the figures of a set; says whether all is well."""
    counts: Counter[str] = Counter()
    worst, differences, kept, troubles = [0.0], {}, {}, []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        try:
            indices = domain.parse(text)
        except TokextError as error:
            troubles.append(f"{path.name}: {error}")
            continue
        written = domain.write(indices)
        domain.grammar.read(indices)
        counts["read"] += 1
        counts["same tokens"] += domain.parse(written) == indices
        worst.append(moved(text, written, grid))
        kept[path] = text, written, len(indices)
        if len(text) > LONGEST:
            continue
        try:
            before = picture(text)
        except Exception as error:  # whatever a renderer raises
            counts["not drawn by cairosvg"] += 1
            troubles.append(f"{path.name}: cairosvg cannot draw it ({type(error).__name__})")
            continue
        after = picture(written)
        same_size = before.shape == after.shape
        differences[path.name] = float(np.abs(before - after).mean()) if same_size else 255.0
    names = sorted({path.stem for path in kept})
    learnt = set(random.Random(1).sample(names, len(names) // 2))
    raw = bpe([text for path, (text, _, _) in kept.items() if path.stem in learnt])
    clean = bpe([written for path, (_, written, _) in kept.items() if path.stem in learnt])
    held = [each for path, each in kept.items() if path.stem not in learnt]
    ours = sum(size for _, _, size in held)
    theirs = sum(len(raw.encode(text).ids) for text, _, _ in held)
    cleaned_theirs = sum(len(clean.encode(written).ids) for _, written, _ in held)
    values = np.array(list(differences.values()))
    print(f"\n{name}: {len(paths)} files; {dict(counts)}; moved by {max(worst):.4f} steps at most")
    print(f"  pictures differ by a median of {np.median(values):.2f} of 255, 95 % below {np.quantile(values, 0.95):.2f}, the worst "
          f"{', '.join(f'{key} {differences[key]:.1f}' for key in sorted(differences, key=differences.get)[-3:])}")  # fmt: skip
    print(f"  {ours / len(held):,.0f} tokens a drawing on {len(held)} held out; BPE on the files {theirs / len(held):,.0f} "
          f"({theirs / ours:.2f} x), on the cleaned drawings {cleaned_theirs / len(held):,.0f} ({cleaned_theirs / ours:.2f} x)",
          flush=True)  # fmt: skip
    for trouble in troubles:
        print(f"  {trouble[:160]}")
    return counts["same tokens"] == counts["read"] == len(paths) and max(worst) <= 0.5 + 1e-6


def main() -> int:
    """Run every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="of each set at most")
    parser.add_argument("--grid", type=int, default=512)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--sequences", type=int, default=10_000)
    options = parser.parse_args()
    domain, good, some = SVGDomain("quantised", options.grid), True, []
    for name, (package, count) in SETS.items():
        paths = drawings(package, min(count, options.files))
        some += paths[:20]
        good &= measure(domain, options.grid, name, paths)
    good &= mutants(domain, some, options.mutants)
    good &= generation(domain, options.sequences)
    return not good


if __name__ == "__main__":
    sys.exit(main())
