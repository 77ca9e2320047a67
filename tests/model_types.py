"""Every model type that the installed transformers knows."""

import json

from transformers import CONFIG_MAPPING, AutoConfig

# types whose config of defaults cannot be made at all, and why
NOT_MADE = {"gemma3n_vision": "timm", "timm_wrapper": "timm", "gemma4_assistant": "hidden_size_per_layer_input"}


def each_default_config(folder):
    """Write config.json of one type after the other, and yield the type; its other values are defaults."""
    types = list(CONFIG_MAPPING)
    assert len(types) > 700
    for model_type in types:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
        try:
            AutoConfig.from_pretrained(folder)
        except (OSError, ValueError):
            pass  # AutoTokenizer goes on without it
        except Exception as error:
            assert NOT_MADE.get(model_type, "a reason") in str(error), (model_type, error)
            continue
        yield model_type
