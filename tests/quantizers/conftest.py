"""Quantizers of every kind, small; and a model that holds one, as codecs do."""

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from hf_tokext.quantizers import Quantizer, make_quantizer

DIM = 8
KINDS = {
    "vq": ("vq", {"size": 16}),
    "vq-learned": ("vq", {"size": 16, "decay": None}),
    "vq-cosine": ("vq", {"size": 16, "cosine": True, "inner": 4}),
    "rvq": ("rvq", {"size": 8, "codebooks": 3}),
    "rvq-dropout": ("rvq", {"size": 8, "codebooks": 3, "dropout": 0.5}),
    "pq": ("pq", {"size": 8, "codebooks": 2}),
    "additive": ("additive", {"size": 8, "codebooks": 3}),
    "fsq": ("fsq", {"levels": [4, 3, 5]}),
    "lfq": ("lfq", {"bits": 5}),
    "bsq": ("bsq", {"bits": 5}),
    "simvq": ("simvq", {"size": 16}),
    "ibq": ("ibq", {"size": 16}),
    "gaussian": ("gaussian", {}),
    "none": ("none", {}),
}
DISCRETE = [kind for kind in KINDS if kind not in ("gaussian", "none")]


def quantizer(kind: str, dim: int = DIM) -> Quantizer:
    torch.manual_seed(0)
    name, options = KINDS[kind]
    return make_quantizer(name, dim, options)


def vectors(batch: int = 2, time: int = 50, dim: int = DIM, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, time, dim, generator=torch.Generator().manual_seed(seed))


class HolderConfig(PreTrainedConfig):
    model_type = "tokext_test_holder"

    def __init__(self, kind: str = "vq", **kwargs):
        self.kind = kind
        super().__init__(**kwargs)


class Holder(PreTrainedModel):
    config_class = HolderConfig
    _keep_in_fp32_modules_strict = {"quantizer"}

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(DIM, DIM)
        name, options = KINDS[config.kind]
        self.quantizer = make_quantizer(name, DIM, options)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, Quantizer):
            module.reset_parameters()
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=0.5)
            if module.bias is not None:
                init.zeros_(module.bias)

    def forward(self, values):
        return self.quantizer(self.layer(values))
