"""Tokenizers trained with the pipelines of real bases give held-out text back."""

import importlib.util
import sysconfig
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from hf_tokext.transplant.train_tokenizer import train_tokenizer
from hf_tokext.vocabulary.pieces import read_vocabulary

SAMPLES = Path(__file__).parents[2] / "scripts" / "samples.py"
LIBRARY = Path(sysconfig.get_path("stdlib"))
SPECIAL = {
    "smollm2-135m": 17,
    "stories15m": 3,
    "gemma3-270m": 7,  # of 6,249, nearly all of them <unused...>
}


@pytest.mark.long
@pytest.mark.parametrize("name", SPECIAL)
def test_held_out_text_comes_back(name):
    loaded = importlib.util.spec_from_file_location("samples", SAMPLES)
    samples = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(samples)
    old = AutoTokenizer.from_pretrained(samples.sample(name))
    texts = [(LIBRARY / f"{module}.py").read_text(encoding="utf-8") for module in ("argparse", "inspect", "ast")]
    held_out = (LIBRARY / "textwrap.py").read_text(
        encoding="utf-8"
    ) + "\n\tcafé 漢字 €  <0x41>\r\n\n\n 🙂 12345 e\u0301"
    new = train_tokenizer(old, texts, 3_000)
    vocabulary = read_vocabulary(new)
    ids = new(held_out, add_special_tokens=False).input_ids
    assert new.decode(ids, clean_up_tokenization_spaces=False) == held_out
    assert len(new) == 3_000 and len(vocabulary.special) == SPECIAL[name]
    assert len(ids) < 1.3 * len(old(held_out, add_special_tokens=False).input_ids)
    assert new.special_tokens_map == old.special_tokens_map
