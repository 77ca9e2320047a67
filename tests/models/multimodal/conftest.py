"""Tiny language models with tiny codecs."""

import numpy as np
import torch

from hf_tokext import (
    DepthCodecConfig,
    DepthCodecImageProcessor,
    DepthCodecModel,
    ImageCodecConfig,
    ImageCodecImageProcessor,
    ImageCodecModel,
    SpeechCodecFeatureExtractor,
    extend_with_codecs,
)
from tests.models.image_codec.conftest import OPTIONS, SIZES
from tests.models.speech_codec.small import HOP
from tests.models.speech_codec.small import small as small_speech
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

RATE = 8000
SIDE = {"height": 16, "width": 16}


def codecs(*names, image="rvq", seed=0):
    """Codecs and their processors by name."""
    torch.manual_seed(seed)
    sizes = {"image_size": 16, "hidden_sizes": [8, 8], "latent_dim": 16, "quantizer_options": {"size": 16}}
    extractor = SpeechCodecFeatureExtractor(sampling_rate=RATE, hop_length=HOP, downmix=True, resample=True)
    config = ImageCodecConfig(**SIZES, quantizer=image, quantizer_options=OPTIONS[image])
    made = {
        "image": (ImageCodecModel(config), ImageCodecImageProcessor(size=SIDE)),
        "speech": (small_speech("rvq", {"size": 8, "codebooks": 2}), extractor),
        "depth": (DepthCodecModel(DepthCodecConfig(**sizes)), DepthCodecImageProcessor(size=SIDE)),
    }
    return {name: made[name] for name in names or made}


def make(*names, lm="llama", quantizer="rvq", seed=0, tied=None, dtype=torch.float32, **options):
    """A model with its processor; options by modality."""
    tokenizer = byte_level()
    model = tiny(lm, vocab_size=len(tokenizer), seed=seed, tied=tied, dtype=dtype)
    return extend_with_codecs(
        model, tokenizer, codecs(*names, image=quantizer), options=options, calibrate=False, seed=seed
    )


def picture(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def sound(samples=60, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def depth(seed=0):
    return np.random.default_rng(seed).random((18, 20)) + 0.5


def batch(processor, **more):
    """Two rows with an image, sounds of two lengths, and depth."""
    texts = ["see <|image|> the cat", "the <|speech|> and <|depth|> on <|speech|>"]
    values = {"images": [picture()], "audio": [sound(60), sound(35, 1)], "depth": [depth()], "sampling_rate": RATE}
    return processor(texts, **values, **more)
