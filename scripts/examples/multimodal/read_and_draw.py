"""Teach a language model to say what pictures show, and to draw them: from folders of pictures to a page of what came of it.

Each folder inside of `pictures` is named for what its pictures show, such as photographs/harbour/1.jpg. Nine in ten of
them are learned from: by a codec, and by the language model that it is put on, which learns both ways from their codes: what a
picture shows, and to write the codes of one. The result is a model that `AutoModelForCausalLM` loads, and page.html: pictures that were not learned
from, what came back of them through the codec, what the model says of them, and what it draws for the same name.

    python read_and_draw.py photographs --base HuggingFaceTB/SmolLM2-135M --output out   # LoRA
    python read_and_draw.py photographs --output out         # a small model of bytes, from nothing
    python read_and_draw.py --toy --output out               # pictures made on the spot
"""

import argparse
import base64
import html
import io
import shutil
from pathlib import Path
from random import Random

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageDraw
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
    set_seed,
)

from hf_tokext import ByteTokenizer, CodecError, MultimodalCollator, extend_with_codecs, train_codec, trainable_rows
from hf_tokext.models.image_codec.reading import read_image

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
DRAWN = 4  # of each name, on the page
TOY = {"disc": "ellipse", "square": "rectangle"}


def toy_pictures(folder: Path) -> Path:
    """Discs and squares of two colours."""
    chance = Random(0)
    for name, shape in TOY.items():
        for colour in ("red", "blue"):
            (folder / f"{colour} {name}").mkdir(parents=True)
            for number in range(40):
                picture = Image.new("RGB", (16, 16), "white")
                x, y, side = chance.randrange(6), chance.randrange(6), chance.randrange(6, 10)
                getattr(ImageDraw.Draw(picture), shape)((x, y, x + side, y + side), fill=colour)
                picture.save(folder / f"{colour} {name}" / f"{number}.png")
    return folder


def split(pictures: Path, learn: Path) -> tuple[list[Path], list[Path]]:
    """Copy nine in ten of each folder's pictures to `learn`; gives them, and those left, at least one of each folder."""
    chosen, left = [], []
    for folder in sorted(path for path in pictures.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and readable(path)]
        if len(files) < 2:
            print(f"{folder} is left out: it needs two pictures at least, one of which is not learned from")
            continue
        Random(0).shuffle(files)
        few = max(len(files) // 10, 1)
        left += files[:few]
        chosen += files[few:]
    if not chosen:
        raise SystemExit(f"{pictures} needs folders of pictures, each named for what they show")
    for name in {file.parent.name for file in chosen}:
        (learn / name).mkdir(parents=True)
    return [Path(shutil.copy(file, learn / file.parent.name)) for file in chosen], left


def readable(file: Path) -> bool:
    """Whether it is a picture; what is none is named."""
    if file.name.startswith("."):
        return False
    try:
        read_image(file)
    except CodecError as error:
        print(f"left out: {error}")
        return False
    return True


def small_model() -> tuple[LlamaForCausalLM, ByteTokenizer]:
    """One from nothing, of bytes."""
    tokenizer = ByteTokenizer(add_bos_token=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
        max_position_embeddings=512, tie_word_embeddings=True, initializer_range=0.05, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return LlamaForCausalLM(config), tokenizer


@torch.no_grad()
def encoded(codec, processor, files: list[Path]) -> list[Tensor]:
    """Codes of pictures, [codebooks, T] each."""
    found: list[Tensor] = []
    for start in range(0, len(files), 64):
        pictures = [read_image(file) for file in files[start : start + 64]]
        values = processor(pictures, return_tensors="pt")["pixel_values"].to(codec.device)
        found += codec.encode(values).codes.cpu()
    return found


def rows(files: list[Path], codes: list[Tensor]) -> list[dict]:
    """Both ways, of each picture."""
    return [
        {"text": text.format(file.parent.name), "answer": answer.format(file.parent.name), "codes": {"image": [each]}}
        for file, each in zip(files, codes, strict=True)
        for text, answer in (("<|image|> shows", " {}"), ("Draw {}:", "<|image|>"))
    ]


@torch.no_grad()
def read(model, processor, codes: list[Tensor], names: set[str]) -> list[str]:
    """What the model says of pictures; it may write as much as the longest of the names."""
    room = 1 + max(len(processor.tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) for name in names)
    said: list[str] = []
    for start in range(0, len(codes), 50):
        part = codes[start : start + 50]
        given = processor(["<|image|> shows"] * len(part), codes={"image": part}).to(model.device)
        found = model.generate(**given, max_new_tokens=room, do_sample=False)[:, given["input_ids"].shape[1] :]
        said += [text.strip() for text in processor.batch_decode(found, skip_special_tokens=True)]
    return said


@torch.no_grad()
def drawn(model, processor, name: str, room: int) -> list[Image.Image]:
    """Pictures that the model draws in so many tokens."""
    given = processor([f"Draw {name}:"] * DRAWN).to(model.device)
    found = model.generate(**given, only="image", max_new_tokens=room, do_sample=True, temperature=0.9)
    codes = torch.stack([processor.parts(row).codes["image"][0] for row in found])
    return processor.post_process("image", model.decode_modality("image", codes.to(model.device)))


def shown(picture: Image.Image) -> str:
    """A picture as it stands in a page."""
    picture = picture.convert("RGB")
    picture.thumbnail((96, 96))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return f'<img alt="" width="96" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def page(lines: list[tuple[str, Image.Image, Image.Image, str, list[Image.Image]]]) -> str:
    """The page: one line for each name."""
    heads = ("", "not learned from", "through the codec", "what the model says", "what it draws")
    style = "body{font-family:sans-serif}img{image-rendering:pixelated}td,th{padding:4px 8px;text-align:left}"
    body = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{shown(given)}</td><td>{shown(back)}</td><td>{html.escape(text)}</td>"
        f"<td>{' '.join(map(shown, made))}</td></tr>\n"
        for name, given, back, text, made in lines
    )
    head = "".join(f"<th>{each}</th>" for each in heads)
    return f'<!doctype html>\n<meta charset="utf-8"><style>{style}</style>\n<table>\n<tr>{head}</tr>\n{body}</table>\n'


def main() -> None:
    """Train the codec, extend, train, save, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="?", help="folder of folders of pictures")
    parser.add_argument("--base", help="model that learns them by LoRA: Hub id or folder; none: a small one of bytes")
    parser.add_argument("--output", type=Path, default=Path("drawing"), help="result folder")
    parser.add_argument("--size", type=int, default=32, help="height and width that pictures are brought to, in pixels")
    parser.add_argument("--codec-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--toy", action="store_true", help="made-up pictures")
    args = parser.parse_args()
    if (args.pictures is None) == (not args.toy):
        parser.error("give a folder of folders of pictures, or --toy")
    if args.output.exists():
        parser.error(f"{args.output} exists; name another --output, or remove it")
    if args.toy:
        args.pictures, args.size = toy_pictures(args.output / "toy-pictures"), 16
    learn, held = split(args.pictures, args.output / "learn")
    options = {"image_size": args.size, "num_latents": 16, "quantizer_options": {"size": 256}}
    train_codec(args.output / "learn", args.output / "codec", steps=args.codec_steps, options=options)
    codec = AutoModel.from_pretrained(args.output / "codec")
    eyes = AutoImageProcessor.from_pretrained(args.output / "codec")

    set_seed(0)
    if args.base is None:
        base, tokenizer = small_model()
    else:
        base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(args.base)
    model, processor = extend_with_codecs(base, tokenizer, {"image": (codec, eyes)})
    processor.tokenizer.padding_side = "left"
    data = rows(learn, encoded(codec, eyes, learn))
    learner = model
    if args.base is not None:
        ids = sorted(int(index) for index in processor.spaces["image"].grammar_ids)
        config = LoraConfig(
            r=16, lora_alpha=32, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM",
            trainable_token_indices=trainable_rows(model, ids),
        )  # fmt: skip
        learner = get_peft_model(model, config)
    arguments = TrainingArguments(
        str(args.output / "run"), max_steps=args.steps, per_device_train_batch_size=args.batch, save_strategy="no",
        learning_rate=args.learning_rate, lr_scheduler_type="cosine", warmup_steps=args.steps // 10, report_to="none",
        logging_steps=max(1, args.steps // 10), remove_unused_columns=False,
    )  # fmt: skip
    Trainer(learner, arguments, train_dataset=data, data_collator=MultimodalCollator(processor)).train()
    if args.base is not None:
        model = learner.merge_and_unload()
    model.eval()
    model.save_pretrained(args.output / "model")
    processor.save_pretrained(args.output / "model")

    codes = encoded(codec, eyes, held)
    said = read(model, processor, codes, {file.parent.name for file in held})
    right = sum(text == file.parent.name for text, file in zip(said, held, strict=True))
    print(f"{right} of {len(held)} pictures that were not learned from are named right")
    first: dict[str, int] = {}
    for at, file in enumerate(held):
        first.setdefault(file.parent.name, at)
    backs = processor.post_process(
        "image", model.decode_modality("image", torch.stack([codes[at] for at in first.values()]).to(model.device))
    )
    lines = [
        (name, read_image(held[at]), back, said[at], drawn(model, processor, name, codes[0].numel() + 2))
        for (name, at), back in zip(first.items(), backs, strict=True)
    ]
    (args.output / "page.html").write_text(page(lines), encoding="utf-8")
    print(args.output / "page.html")


if __name__ == "__main__":
    main()
