"""Which of two points is nearer: asked of a picture directly, or after writing its depth as tokens (AURORA).

    python scripts/repro_perception.py --seeds 3 --device cpu
    python scripts/repro_perception.py --seeds 1 --steps 100 --scenes 300    # a look

Pictures are of rendered scenes (floors, walls, boxes, balls): matt grey surfaces under one lamp above the camera, 32 x 32
pixels, without fog, texture or shadow, so that depth must be understood from shapes. A codec of 256 codes turns each into 16
tokens, and another of 64 codes does so with its depth. A GPT-2 of three layers, from nothing, reads the names of two of the
16 cells and the picture, and says which is nearer, A or B. Points differ in disparity by more than a tenth of the scene's
range; of half the pairs the lower in the picture is nearer, of half the upper, so that neither place nor answer tells anything.

* direct: behind the picture it names the cells again and answers, `cfB`.
* levels: between them it says how near each is, in tenths of the range, `c3f7B`.
* depth tokens: as levels, but behind depth tokens, which the model writes first; a curriculum goes from what depth alone
  teaches, to write it and to read two cells of it (`c3f7`), to questions, as in AURORA (arXiv 2412.03548).
* levels, drawing too: the same curriculum, and no depth tokens where something is asked.

As in AURORA depth is known of many pictures, and answers of few: --answered questions, always the same, of as many scenes. All
learn for the same steps; since that is long for so few questions, direct and levels also for a quarter and a half of them, and the
table gives what is best on the questions that are reported, in their favour.

Held out are other scenes and, apart, squares of a real photograph with measured depth (Middlebury's "motorcycle", from
the package scikit-image), which no training saw anything like. `from its own depth tokens` compares the two cells of the
depth that the model wrote, decoded; `from true depth tokens` is what the codec would allow.
"""

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rendered_depth import filled, scenes, squares, stereo_disparity
from repro_depth_codec import save_picture
from samples import from_pip
from torch import Tensor
from torch.nn.functional import avg_pool2d
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from hf_tokext import (
    ByteTokenizer,
    Curriculum,
    DepthCodecConfig,
    DepthCodecImageProcessor,
    DepthCodecModel,
    MultimodalCollator,
    Stage,
    annealed,
    extend_with_codecs,
)

SIZE, SIDE = 32, 4
CELL = SIZE // SIDE
NAMES = "abcdefghijklmnop"  # of the cells, in reading order
APART = 0.1  # of a scene's range of disparity
ACROSS = 0.52  # half the width of the view at distance 1, where shading asks for it
LAMP = np.array([-0.4, -0.7, -0.6]) / np.linalg.norm([-0.4, -0.7, -0.6])
SIDES = (120, 240, 480)  # of the photograph's squares
WAYS = {  # what is learned last, and whether drawing comes before
    "direct": ("direct", False),
    "levels": ("levels", False),
    "levels, drawing too": ("levels", True),
    "depth tokens": ("depth tokens", True),
}
WRITTEN = {"direct": 3, "levels": 5, "depth tokens": 5}  # letters of an answer
SHARES = (0.25, 0.5, 1.0)  # of the steps, for what sees questions alone


def shaded(disparity: np.ndarray) -> np.ndarray:
    """Brightness of matt surfaces, [size, size] in 0 to 1, from [size, size] disparity."""
    size = len(disparity)
    depth, step = 1 / disparity.astype(np.float64), 2 * ACROSS / size
    down, right = np.gradient(depth, step)
    places = ((np.arange(size) + 0.5) / size * 2 - 1) * ACROSS
    u, v = np.meshgrid(places, places)
    normals = np.stack([right, down, -(depth + u * right + v * down)], -1)  # towards the camera
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return (0.1 + 0.9 * np.maximum(normals @ LAMP, 0)).astype(np.float32)


def cells(maps: Tensor) -> Tensor:
    """What stands in the middle of each cell, [N, 16] of [N, 1, 32, 32]."""
    edge = CELL // 2 - 1
    inner = maps.unfold(2, CELL, CELL).unfold(3, CELL, CELL)[..., edge:-edge, edge:-edge]
    return inner.mean((-2, -1)).flatten(1)


def pair(
    near: np.ndarray, known: np.ndarray, lower_nearer: bool, chance: np.random.Generator
) -> tuple[int, int] | None:
    """Two cells of a scene, [16] each, in random order, of which the lower or the upper is nearer; None if there are none."""
    row = np.arange(SIDE * SIDE) // SIDE
    below, nearer = row[:, None] > row, near[:, None] - near > APART
    found = np.argwhere((below if lower_nearer else below.T) & nearer & known[:, None] & known)
    if not len(found):
        return None
    first, second = found[chance.integers(len(found))].tolist()
    return (first, second) if chance.random() < 0.5 else (second, first)


def level(near: float) -> str:
    """A digit for a disparity in 0 to 1."""
    return str(min(int(10 * near), 9))


def answer(near: np.ndarray, first: int, second: int) -> str:
    """A or B."""
    return "A" if near[first] > near[second] else "B"


class Scenes:
    """Scenes as codes, and what is nearer in them.

    near: [N, 16], disparity in the middle of each cell; known: [N, 16], whether it was measured; picture, depth: codes,
    [N, 1, 16].
    """

    def __init__(self, near: Tensor, known: Tensor, picture: Tensor, depth: Tensor) -> None:
        self.near, self.known, self.picture, self.depth = near.numpy(), known.numpy(), picture, depth

    def __len__(self) -> int:
        return len(self.near)


class Rows:
    """Rows for the collator: of a kind of `WRITTEN`, or "draw", which asks nothing; all anew, or some again and again."""

    def __init__(self, scenes: Scenes, kind: str, count: int, seed: int, some: int | None = None) -> None:
        self.scenes, self.kind, self.seed = scenes, kind, seed
        self.count, self.some = count, some

    def __len__(self) -> int:
        return self.count

    def question(self, number: int) -> tuple[int, int, int]:
        """Scene and cells."""
        number %= self.some or self.count
        chance = np.random.default_rng((self.seed, number))
        lower_nearer = bool(chance.random() < 0.5)
        scene = number % len(self.scenes)
        while (found := pair(self.scenes.near[scene], self.scenes.known[scene], lower_nearer, chance)) is None:
            scene = int(chance.integers(len(self.scenes)))
        return scene, *found

    def answer(self, number: int) -> str:
        """A or B."""
        scene, first, second = self.question(number)
        return answer(self.scenes.near[scene], first, second)

    def __getitem__(self, number: int) -> dict:
        scene, first, second = self.question(number)
        near, codes = self.scenes.near[scene], {"picture": [self.scenes.picture[scene]]}
        levels = ("", "") if self.kind == "direct" else (level(near[first]), level(near[second]))
        asked, said = NAMES[first] + NAMES[second], answer(near, first, second)
        if self.kind == "draw":
            asked, said = "??", ""
        written = NAMES[first] + levels[0] + NAMES[second] + levels[1] + said
        if self.kind in ("draw", "depth tokens"):
            codes["depth"], written = [self.scenes.depth[scene]], "<|depth|>" + written
        return {"text": f"{asked}<|picture|>", "answer": written, "codes": codes}


def trained_codec(maps: Tensor, codes: int, options: argparse.Namespace) -> DepthCodecModel:
    """A codec of maps of one channel."""
    set_seed(0)
    config = DepthCodecConfig(
        image_size=SIZE, hidden_sizes=(16, 32, 64), latent_dim=32, quantizer_options={"size": codes}
    )
    model = DepthCodecModel(config).to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=options.codec_steps, pct_start=0.101)
    chance = torch.Generator().manual_seed(0)
    for _ in range(options.codec_steps):
        model(maps[torch.randint(len(maps), (16,), generator=chance)].to(options.device)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


def encoded(codec: DepthCodecModel, maps: Tensor) -> Tensor:
    """Codes, [N, 1, 16]."""
    return torch.cat([codec.encode(part.to(codec.device)).codes.cpu() for part in maps.split(256)])


def lm() -> GPT2LMHeadModel:
    """A small one from nothing."""
    marks = {"bos_token_id": 257, "eos_token_id": 258, "pad_token_id": 256}
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=260, n_positions=96, n_embd=64, n_layer=3, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
            activation_function="gelu_pytorch_tanh", initializer_range=0.1,  # at 0.02 looking a cell up takes long to form
            **marks,
        )
    )  # fmt: skip


def plan(way: str, rows: int) -> list[Stage]:
    """What is learned when."""
    kind, drawing = WAYS[way]
    return annealed(rows, {"draw": 1}, {kind: 1}, stages=10) if drawing else [Stage(rows, {kind: 1})]


def trained(way: str, steps: int, seed: int, train: Scenes, codecs: dict, options: argparse.Namespace):
    """A model and its processor."""
    set_seed(seed)
    model, processor = extend_with_codecs(lm(), ByteTokenizer(add_bos_token=True), codecs, calibrate=False, seed=seed)
    count = steps * options.batch
    kinds = {kind: Rows(train, kind, count, seed, options.answered) for kind in WRITTEN}
    data = Curriculum(kinds | {"draw": Rows(train, "draw", count, seed)}, plan(way, count), seed)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=options.batch, learning_rate=options.rate, lr_scheduler_type="cosine",
            warmup_steps=min(100, steps // 5), report_to="none", disable_tqdm=True, save_strategy="no", seed=seed,
            logging_steps=max(steps // 5, 1), use_cpu=options.device == "cpu", **data.arguments,
        )  # fmt: skip
        trainer = Trainer(model, arguments, train_dataset=data, data_collator=MultimodalCollator(processor))
        trainer.train()
    return model.eval(), processor


@torch.no_grad()
def answers(model, processor, rows: Rows, way: str) -> tuple[list[str], Tensor | None]:
    """What the model writes, its last letter, and the depth codes that it wrote before, [N, 1, 16]."""
    collate, letters, depth = MultimodalCollator(processor), [], []
    for start in range(0, len(rows), 250):
        part = [rows[number] for number in range(start, min(start + 250, len(rows)))]
        prompts = [{"text": row["text"], "codes": {"picture": row["codes"]["picture"]}} for row in part]
        batch = collate(prompts).to(model.device)
        if way == "depth tokens":
            found = model.generate(**batch, only="depth", max_new_tokens=SIDE * SIDE + 2, do_sample=False)
            depth += [processor.parts(row[batch["input_ids"].shape[1] :]).codes["depth"][0] for row in found]
            ended = found[:, -1:].ne(processor.spaces["depth"].end).any()
            assert not ended, "a document of depth did not end"
            batch = {"input_ids": found}
        found = model.generate(**batch, max_new_tokens=WRITTEN[way], do_sample=False)
        letters += processor.batch_decode(found[:, -1:])
    return letters, torch.stack(depth).cpu() if depth else None


def right(letters: list[str], rows: Rows) -> float:
    """Share of right answers."""
    return statistics.mean(letters[number] == rows.answer(number) for number in range(len(rows)))


def compared(near: np.ndarray, rows: Rows) -> list[str]:
    """Answers by comparing numbers of cells, [N, 16] by row, or [16] for all."""
    found = []
    for number in range(len(rows)):
        _, first, second = rows.question(number)
        here = near if near.ndim == 1 else near[number]
        found.append("A" if here[first] > here[second] else "B")
    return found


def baselines(rows: Rows, train: Scenes) -> dict[str, list[str]]:
    """What needs no picture."""
    lower = np.arange(SIDE * SIDE) // SIDE
    return {
        "always A": ["A"] * len(rows),
        "the lower is nearer": compared(lower.astype(float), rows),
        "the place's mean depth": compared(train.near.mean(0), rows),
    }


def spread(values: list[float]) -> str:
    """Percent: mean, and standard deviation where there are several."""
    mean = f"{100 * statistics.mean(values):.1f}"
    return mean if len(values) < 2 else f"{mean} +- {100 * statistics.stdev(values):.1f}"


def photograph(wheel: Path) -> tuple[list[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    """Squares of the real photograph, in 0 to 1, and of its disparity: filled, and where it was measured."""
    grey = Image.open(wheel / "skimage" / "data" / "motorcycle_left.png").convert("L")
    light = np.asarray(grey, dtype=np.float32) / 255 + 1e-3  # zero would be "not known"
    return squares(light, SIDES), [filled(each) for each in squares(stereo_disparity(wheel), SIDES)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--codec-steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--scenes", type=int, default=8000)
    parser.add_argument("--answered", type=int, default=500, help="questions to learn from")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument(
        "--data", type=Path, help="folder that scikit-image's wheel is unpacked in; else it is downloaded"
    )
    parser.add_argument(
        "--picture", type=Path, help="PNG: pictures, their depth, this through its tokens, and as written"
    )
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    processor = DepthCodecImageProcessor(size=SIZE)
    begun = time.process_time()
    made = {
        name: scenes(count, SIZE, seed) for name, count, seed in (("train", options.scenes, 10), ("rendered", 1000, 11))
    }
    maps = {name: processor(list(each))["pixel_values"] for name, each in made.items()}
    pictures = {name: processor([shaded(one) for one in each])["pixel_values"] for name, each in made.items()}
    known = {name: torch.ones(len(each), SIDE * SIDE, dtype=torch.bool) for name, each in made.items()}
    with tempfile.TemporaryDirectory() as downloads:
        light, measured = photograph(options.data or from_pip("scikit-image==0.26.0", Path(downloads)))
    pictures["real"] = processor(light)["pixel_values"]
    maps["real"] = processor([each for each, _ in measured])["pixel_values"]
    sure = torch.stack([processor(each.astype("float32"))["pixel_mask"][0] for _, each in measured])
    known["real"] = avg_pool2d(sure[:, None].float(), CELL).flatten(1) > 0.9
    see, feel = trained_codec(pictures["train"], 256, options), trained_codec(maps["train"], 64, options)
    codecs = {"picture": (see, processor), "depth": (feel, processor)}
    data = {
        name: Scenes(cells(maps[name]), known[name], encoded(see, pictures[name]), encoded(feel, maps[name]))
        for name in maps
    }
    tests = {
        name: Rows(data[name], "depth tokens", count, 1_000_000)
        for name, count in (("rendered", options.questions), ("real", min(options.questions, 1000)))
    }
    print(f"{len(made['train'])} scenes to learn from; {len(tests['rendered'])} questions about {len(data['rendered'])} others, "
          f"{len(tests['real'])} about {len(data['real'])} squares of a photograph; "
          f"{time.process_time() - begun:.0f} s for scenes and codecs", flush=True)  # fmt: skip

    def line(name: str, figures: list[dict[str, float]], more: str = "") -> None:
        print(
            f"{name:34}" + "".join(f"{spread([each[test] for each in figures]):>18}" for test in tests) + more,
            flush=True,
        )

    print(f"{'right answers, %':34}" + "".join(f"{name:>18}" for name in tests))
    trivial = {test: baselines(rows, data["train"]) for test, rows in tests.items()}
    for name in trivial["rendered"]:
        line(name, [{test: right(trivial[test][name], rows) for test, rows in tests.items()}])

    def back(codes: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([feel.decode(part.to(feel.device)).cpu() for part in codes.split(256)])

    def written(codes: Tensor) -> np.ndarray:
        return cells(back(codes)).numpy()

    true = {
        test: compared(written(data[test].depth[[rows.question(n)[0] for n in range(len(rows))]]), rows)
        for test, rows in tests.items()
    }
    line("from true depth tokens", [{test: right(true[test], rows) for test, rows in tests.items()}])
    kept: dict[str, list[dict[str, float]]] = {}
    shown: dict[str, list[Tensor]] = {}  # of the last seed
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for way in options.ways:
            kind, drawing = WAYS[way]
            several = []
            for steps in [round(share * options.steps) for share in ((1.0,) if drawing else SHARES)]:
                start = time.process_time()
                model, proc = trained(way, steps, seed, data["train"], copy.deepcopy(codecs), options)
                seconds, found, own = time.process_time() - start, {}, {}
                for test, rows in tests.items():
                    letters, codes = answers(model, proc, rows, kind)
                    found[test] = right(letters, rows)
                    if codes is not None:
                        own[test] = right(compared(written(codes), rows), rows)
                        asked = [rows.question(number)[0] for number in range(12)]
                        seen = pictures[test][asked], maps[test][asked], back(data[test].depth[asked]), back(codes[:12])
                        shown[test] = list(seen)
                several.append(found)
                line(f"  seed {seed}, {way}", [found], f"  {steps} steps, {seconds:.0f} s")
                if own:
                    kept.setdefault("from its own depth tokens", []).append(own)
                    line("    from its own depth tokens", [own])
            best = {test: max(each[test] for each in several) for test in tests}
            kept.setdefault(way, []).append(best)
    for name, figures in kept.items():
        line(name, figures)
    if options.picture and shown:
        save_picture(options.picture, [row for each in shown.values() for row in each])
        print(
            f"{options.picture}: pictures, depth, depth through its tokens, and as the model wrote it; {', '.join(shown)}"
        )


if __name__ == "__main__":
    main()
