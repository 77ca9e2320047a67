"""What a codec's folder says of it, made ready for a model card."""

from collections.abc import Mapping
from math import log2
from pathlib import Path
from typing import Any

from hf_tokext.errors import CheckpointError
from hf_tokext.hub.licences import one_line
from hf_tokext.hub.loading import read_object
from hf_tokext.models.codec_report import CURVES, REPORT, SAMPLES

THINGS = {"image": "images", "audio": "recordings", "depth": "depth maps"}
EXTRAS = {"image": "vision", "audio": "audio"}  # what reading files of it needs
IMAGE = """values = processor("picture.png", return_tensors="pt")["pixel_values"]
{codes} = model.encode(values).{codes}  # [images, {axes}]
back = processor.post_process(model.{decode}({codes}, size=tuple(values.shape[2:])))[0]  # a PIL image"""
DEPTH = """given = processor(numpy.load("depth.npy"))  # [height, width], in any unit
{codes} = model.encode(given["pixel_values"], given["pixel_mask"]).{codes}  # [maps, {axes}]
back = model.{decode}({codes}, size=tuple(given["pixel_values"].shape[2:]))
depth = processor.post_process(back, given["depth_range"])[0]  # [height, width], in the same unit"""
SOUND = """given = processor("sound.wav", downmix=True, resample=True)
found = model.encode(given["input_values"], given["padding_mask"])  # {codes} [sounds, {axes}], and their mask
back = model.{decode}(found.{codes}, found.mask)  # [sounds, 1, samples], {rate:,} a second"""
WAVES = """waves = torch.zeros(1, {rate})  # [sounds, samples] in -1 to 1, {rate:,} a second
{codes} = model.encode(waves).{codes}  # [sounds, {axes}]
back = model.{decode}({codes}, length=waves.shape[1])  # [sounds, 1, samples]"""


def codec_facts(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the template of codecs.

    Args:
        folder: the checkpoint; no weights are read.
        config: the content of its config.json.

    Returns:
        Values, as text that cannot break out of its place in Markdown; empty where it is no codec.

    Raises:
        CheckpointError: the config or the report is damaged.
    """
    if not str(config.get("model_type", "")).startswith("tokext_"):
        return {}
    from transformers import MODEL_MAPPING, AutoConfig

    from hf_tokext.models.codec import ModalityCodec

    try:
        known: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = MODEL_MAPPING.get(type(known), None)
    except Exception as error:  # strict configs raise a class of their own for every kind of bad value
        raise CheckpointError(f"{folder / 'config.json'} is damaged: {error}") from error
    if not (isinstance(model, type) and issubclass(model, ModalityCodec)):
        return {}
    alone = not (folder / "preprocessor_config.json").is_file()
    report = read_object(folder / REPORT)
    return {
        "modality": model.modality,
        "things": THINGS[model.modality],
        "extra": EXTRAS.get(model.modality),
        "usage": _usage(model.modality, known, alone),
        "rate": _rate(model.modality, known),
        "training": _training(report) if report else {},
        "pictures": [name for name in (SAMPLES, CURVES) if (folder / name).is_file()],
    }


def _usage(modality: str, config: Any, alone: bool) -> str:
    """Code that encodes and decodes; nothing where no processor says how pictures become values."""
    words = {"codes": "codes", "decode": "decode", "axes": "codebooks, places"}
    if not config.codebook_sizes:
        words = {"codes": "latents", "decode": "decode_latents", "axes": "places, numbers"}
    if modality == "audio":
        return (WAVES if alone else SOUND).format(rate=config.sampling_rate, **words)
    return "" if alone else {"image": IMAGE, "depth": DEPTH}[modality].format(**words)


def _rate(modality: str, config: Any) -> list[tuple[str, str]]:
    """Rows of a table: what goes in, what comes out, and what it costs."""
    sizes = config.codebook_sizes
    bits = sum(map(log2, sizes))
    if modality == "audio":
        places, every = config.frame_rate, "a second"
        taken = f"sounds of one channel, {config.sampling_rate:,} samples a second"
    else:
        height, width = config.height_width
        every = "an image" if modality == "image" else "a map"
        places = config.num_latents if modality == "image" else height * width // config.stride**2
        taken = f"{THINGS[modality]} of {height} x {width} pixels, or another size that its steps divide"
    if sizes:
        kinds = [f"{sizes.count(size)} of {size:,}" for size in dict.fromkeys(sizes)]
        gives = f"{places:,g} places {every}, a code of each codebook at each place"
        rows = [("codebooks, and their codes", ", ".join(kinds)), ("rate", f"{places * bits:,.0f} bits {every}")]
    else:
        gives, rows = f"{places:,g} vectors of {config.latent_dim} numbers {every}, no codes", []
    if quantizer := getattr(config, "quantizer", None):
        rows.append(("quantizer", f"`{one_line(quantizer)}`"))
    if modality == "audio" and hasattr(config, "causal"):
        rows.append(("streams", "yes: `model.stream()`" if config.causal else "no: it sees what comes later"))
    return [("takes", taken), ("gives", gives), *rows]


def _training(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a training noted; what is missing there is said to be unknown."""
    quality, uses = report.get("quality"), report.get("usage")
    names = {"psnr": "PSNR", "si_snr": "SI-SNR"}
    found = quality.items() if isinstance(quality, Mapping) else ()
    uses = [use for use in uses if isinstance(use, Mapping)] if isinstance(uses, list) else []
    shares = [use["used"] for use in uses if _number(use.get("used"))]
    return {
        **{name: f"{report[name]:,}" if _number(report.get(name)) else "?" for name in ("files", "held_out", "steps")},
        "quality": [f"{names[name]} {value:.2f} dB" for name, value in found if name in names and _number(value)],
        "used": f"{sum(shares) / len(shares):.1%}" if shares else "",
    }


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
