"""What the folder of a language model with codecs says of them, made ready for a model card."""

from collections.abc import Mapping
from typing import Any

from hf_tokext.errors import CheckpointError
from hf_tokext.hub.codecs import THINGS
from hf_tokext.hub.licences import one_line
from hf_tokext.vocabulary.code_space import CodeSpace
from hf_tokext.vocabulary.spaces import Spaces

VALUES = {"image": '"picture.png"', "audio": '"sound.wav"', "depth": "depth"}  # depth: an array [height, width]
READ = """processor = AutoProcessor.from_pretrained(name)
inputs = processor("{text}", {values}).to(model.device)
output = model.generate(**inputs, max_new_tokens=50)
print(processor.decode(output[0], skip_special_tokens=True))"""
WRITE = """
output = model.generate(**processor("Here it is: ").to(model.device), only="{name}", max_new_tokens=2000, do_sample=True)
codes = processor.parts(output[0]).codes["{name}"][0]  # [codebooks, places]
made = processor.post_process("{name}", model.decode_modality("{name}", codes[None]))[0]"""
INPUTS = {
    "ids": "rows of the embedding matrix",
    "codebook": "vectors of the codes, projected",
    "latent": "latents, projected",
}


def sense_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the template of language models with codecs.

    Args:
        config: the content of config.json.

    Returns:
        Values, as text that cannot break out of its place in Markdown; empty where there are no codecs.

    Raises:
        CheckpointError: the config is damaged.
    """
    if config.get("model_type") != "tokext_multimodal":
        return {}
    try:
        senses = dict(config["senses"])
        spaces = Spaces.from_json([each["space"] for each in senses.values()]).codes
        rows = [_row(name, spaces[name], str(sense["input"])) for name, sense in senses.items()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"the senses of config.json are damaged: {error}") from error
    things = [THINGS.get(space.modality, one_line(name)) for name, space in spaces.items()]
    return {"senses": rows, "all_things": _listed(things), "usage": _usage(spaces)}


def _row(name: str, space: CodeSpace, read: str) -> dict[str, str]:
    books = " + ".join(f"{size:,}" for size in space.codebooks)
    return {
        "name": one_line(name),
        "placeholder": f"<\\|{one_line(name)}\\|>",
        "codes": f"{books} codes from id {space.base:,}" if books else "latents",
        "places": f"one every {space.hop:,} samples" if space.steps is None else f"{space.steps:,}",
        "layout": space.layout if len(space.codebooks) > 1 else "one codebook",
        "read": INPUTS.get(read, one_line(read)),
    }


def _usage(spaces: Mapping[str, CodeSpace]) -> str:
    text = "".join(space.marker_texts[2] for space in spaces.values()) + " is"
    values = ", ".join(f"{name}=[{VALUES.get(space.modality, 'value')}]" for name, space in spaces.items())
    coded = [name for name, space in spaces.items() if not space.is_continuous]
    return READ.format(text=text, values=values) + (WRITE.format(name=coded[0]) if coded else "")


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
