"""Every model type that the installed transformers knows."""

import json

import pytest
from transformers import CONFIG_MAPPING, AutoConfig

# transformers gives these another tokenizer than the one that they are saved with
DISTURBED = ("qwen2", "qwen3_5", "siglip2")
COUNT = 6
PARTS = [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, COUNT))]

# types whose config of defaults cannot be made at all, and why
NOT_MADE = {"gemma3n_vision": "timm", "timm_wrapper": "timm", "gemma4_assistant": "hidden_size_per_layer_input"}


def each_default_config(folder, part):
    """Write config.json of one type of a part after the other, and yield the type; its other values are defaults."""
    types = [*DISTURBED, *(model_type for model_type in CONFIG_MAPPING if model_type not in DISTURBED)]
    assert len(types) > 700
    for model_type in types[part::COUNT]:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        try:
            AutoConfig.from_pretrained(folder)
        except (OSError, ValueError):
            pass  # AutoTokenizer goes on without it
        except Exception as error:
            assert NOT_MADE.get(model_type, "a reason") in str(error), (model_type, error)
            continue
        yield model_type
