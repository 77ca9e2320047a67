"""Registration: by name, at the moment in which transformers loads an Auto class; clashes are errors."""

import subprocess
import sys
import textwrap

import pytest
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    LlamaConfig,
    LlamaModel,
    PreTrainedConfig,
    TokenizersBackend,
)

from hf_tokext import register_family
from hf_tokext.errors import RegistrationError
from hf_tokext.registry import CODE_FILE, write_auto_code
from tests.tokenizers import byte_level


class OwnConfig(LlamaConfig):
    model_type = "test_registry_own"


class OwnModel(LlamaModel):
    config_class = OwnConfig


class OwnTokenizer(TokenizersBackend):
    pass


class RivalConfig(PreTrainedConfig):
    model_type = "test_registry_own"


def fresh(code):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_third_party_registers_its_own_and_may_repeat_it(tmp_path):
    for _ in range(2):
        register_family(OwnConfig, tokenizer=OwnTokenizer, models={"AutoModel": OwnModel})
    config = OwnConfig(vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    OwnModel(config).save_pretrained(tmp_path)
    OwnTokenizer(tokenizer_object=byte_level().backend_tokenizer).save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is OwnConfig
    assert type(AutoModel.from_pretrained(tmp_path)) is OwnModel
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is OwnTokenizer


def named(name, base):
    return type(name, (base,), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": RivalConfig}, "belongs to .*OwnConfig"),
        ({"config": OwnConfig, "models": {"AutoModel": named("Other", LlamaModel)}}, "has .*OwnModel"),
        ({"config": named("C1", OwnConfig), "tokenizer": named("OwnTokenizer", TokenizersBackend)}, "belongs to"),
        ({"config": named("C2", OwnConfig), "tokenizer": named("LlamaTokenizer", TokenizersBackend)}, "belongs to"),
        ({"config": named("C3", OwnConfig), "tokenizer": named("QuickFast", TokenizersBackend)}, "strips 'Fast'"),
        ({"config": OwnConfig, "models": {"AutoModelForNothing": OwnModel}}, "has no AutoModelForNothing"),
        ({"config": named("LlamaConfig", PreTrainedConfig)}, "has no model_type"),
    ],
)
def test_clashes(arguments, message):
    register_family(OwnConfig, tokenizer=OwnTokenizer, models={"AutoModel": OwnModel})
    only = {"tokenizer_only": True} if "tokenizer" in arguments or "models" in arguments else {}
    with pytest.raises(RegistrationError, match=message):
        register_family(**arguments, **only)


FAMILY = """
    import sys, types
    import hf_tokext
    from hf_tokext import register_family
    names = ("pretend_config", "pretend_tokenizer", "pretend_model")
    register_family("pretend_config:C", tokenizer="pretend_tokenizer:T", models={"AutoModel": "pretend_model:M"})
"""
FILES = {
    "pretend_config": "from transformers import LlamaConfig\nclass C(LlamaConfig):\n    model_type = 'pretend'\n",
    "pretend_tokenizer": "from transformers import TokenizersBackend\nclass T(TokenizersBackend):\n    pass\n",
    "pretend_model": "from transformers import LlamaModel\nfrom pretend_config import C\n"
    "class M(LlamaModel):\n    config_class = C\n",
}


@pytest.fixture
def family(tmp_path):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    return f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{textwrap.dedent(FAMILY)}"


USE = """
from transformers import AutoConfig
config = AutoConfig.for_model("pretend", vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                              num_attention_heads=1)
from transformers import AutoModel, AutoTokenizer
print(type(config).__name__, type(AutoModel.from_config(config)).__name__, AutoTokenizer.__name__)
from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES
print(REGISTERED_TOKENIZER_CLASSES["T"].__name__)
"""


def test_code_is_loaded_with_its_auto_class_and_not_before(family):
    asked = 'print([name for name in (*names, "transformers") if name in sys.modules])\n'
    assert fresh(family + asked + USE) == ["[]", "C", "M", "AutoTokenizer", "T"]


@pytest.mark.parametrize("name", list(FILES))
def test_a_module_of_the_family_may_be_the_first_that_loads_transformers(family, name):
    assert fresh(f"{family}import {name}\n{USE}") == ["C", "M", "AutoTokenizer", "T"]


def test_transformers_first_or_last_is_the_same():
    code = "{0}\nprint(tokenization_auto.REGISTERED_TOKENIZER_CLASSES['ByteTokenizer'].__name__)"
    first = "import hf_tokext\nfrom transformers.models.auto import tokenization_auto"
    last = "from transformers.models.auto import tokenization_auto\nimport hf_tokext"
    assert fresh(code.format(first)) == fresh(code.format(last)) == ["ByteTokenizer"]


def test_the_code_file_is_added_to_and_repeats_nothing(tmp_path):
    for code in ("from a import B\n", "from c import D\n", "from a import B\n"):
        write_auto_code(tmp_path, code)
    text = (tmp_path / CODE_FILE).read_text()
    assert text.count("from a import B") == text.count("from c import D") == 1
    compile(text, CODE_FILE, "exec")
