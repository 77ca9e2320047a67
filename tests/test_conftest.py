import os
from pathlib import Path

from transformers import AutoTokenizer, dynamic_module_utils

from hf_tokext.registry import name_tokenizer
from tests.tokenizers import byte_level

CODE = "from transformers import TokenizersBackend\n\n\nclass Mine(TokenizersBackend):\n    pass\n"


def test_the_code_of_checkpoints_is_copied_into_a_cache_of_this_run(tmp_path):
    byte_level().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    name_tokenizer(tmp_path, "Mine", CODE)
    loaded = AutoTokenizer.from_pretrained(tmp_path, trust_remote_code=True)
    cache = Path(os.environ["HF_MODULES_CACHE"])
    assert str(cache) == dynamic_module_utils.HF_MODULES_CACHE
    assert [path.read_text() for path in cache.glob(f"transformers_modules/{tmp_path.name}/**/hf_tokext_auto.py")]
    assert type(loaded).__name__ == "Mine" and "hf_tokext-modules-" in cache.name
