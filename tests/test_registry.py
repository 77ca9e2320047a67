"""Registration: by name, at the moment in which transformers loads an Auto class; clashes are errors."""

import textwrap

import pytest
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    LlamaConfig,
    LlamaModel,
    LlavaConfig,
    PreTrainedConfig,
    ProcessorMixin,
    SequenceFeatureExtractor,
    TokenizersBackend,
    WhisperConfig,
)
from transformers.image_processing_backends import PilBackend

from hf_tokext import register_family
from hf_tokext.errors import RegistrationError
from hf_tokext.registry import CODE_FILE, write_auto_code
from tests.another_process import run_program
from tests.tokenizers import byte_level

LOADED = (AutoFeatureExtractor, AutoImageProcessor, AutoProcessor)  # so that registering happens at once


class OwnConfig(LlamaConfig):
    model_type = "test_registry_own"


class OwnModel(LlamaModel):
    config_class = OwnConfig


class OwnTokenizer(TokenizersBackend):
    pass


class RivalConfig(PreTrainedConfig):
    model_type = "test_registry_own"


def fresh(code):
    return run_program(textwrap.dedent(code), check=True).stdout.split()


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


class OwnImages(PilBackend):
    pass


class OwnProcessor(ProcessorMixin):
    pass


class OwnSound(SequenceFeatureExtractor):
    pass


OWN = {
    "tokenizer": OwnTokenizer,
    "processor": OwnProcessor,
    "image_processor": OwnImages,
    "feature_extractor": OwnSound,
    "models": {"AutoModel": OwnModel},
}


def rival(keyword, name="Rival", config=OwnConfig):
    """A class of somebody else's for one argument of register_family."""
    if keyword == "models":
        return {"AutoModel": type(name, (OwnModel,), {"config_class": config})}
    return type(name, (OWN[keyword].__base__,), {})


def other(name):
    return type(f"{name}Config", (OwnConfig,), {"model_type": name.lower()})


@pytest.mark.parametrize("keyword", OWN)
def test_a_config_that_has_a_class_already_is_a_clash(keyword):
    for _ in range(2):
        register_family(OwnConfig, **OWN)
    with pytest.raises(RegistrationError, match=r"Auto\w+ has .*Own\w+ for .*OwnConfig already"):
        register_family(OwnConfig, **{keyword: rival(keyword, f"Rival{keyword}")})
    register_family(OwnConfig, **OWN)  # nothing was replaced


@pytest.mark.parametrize(
    ("keyword", "config"),
    [
        ("tokenizer", LlamaConfig),
        ("processor", LlavaConfig),
        ("image_processor", LlavaConfig),
        ("feature_extractor", WhisperConfig),
        ("models", LlamaConfig),
    ],
)
def test_classes_of_transformers_are_not_replaced(keyword, config):
    with pytest.raises(RegistrationError, match="has transformers.* already"):
        register_family(config, **{keyword: rival(keyword, f"Upstream{keyword}", config)})


@pytest.mark.parametrize("keyword", [keyword for keyword in OWN if keyword != "models"])
def test_a_name_that_another_class_has_is_a_clash(keyword):
    register_family(OwnConfig, **OWN)
    taken = rival(keyword, OWN[keyword].__name__)
    with pytest.raises(RegistrationError, match=f"the name {taken.__name__} belongs to .*test_registry"):
        register_family(other(f"Name{keyword}"), **{keyword: taken})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": RivalConfig}, "belongs to .*OwnConfig"),
        ({"config": other("Llama1"), "tokenizer": rival("tokenizer", "LlamaTokenizer")}, "belongs to transformers"),
        ({"config": other("Quick1"), "tokenizer": rival("tokenizer", "QuickFast")}, "AutoTokenizer strips 'Fast'"),
        ({"config": other("Quick2"), "image_processor": rival("image_processor", "QFast")}, "Processor strips 'Fast'"),
        ({"config": OwnConfig, "models": {"AutoModelForNothing": OwnModel}}, "has no AutoModelForNothing"),
        ({"config": type("LlamaConfig", (PreTrainedConfig,), {})}, "has no model_type"),
        ({"config": "no_such_module:Config"}, "No module named .*\nin the family of no_such_module:Config"),
        ({"config": "json:NoConfig"}, "json.* has no attribute 'NoConfig'"),
    ],
)
def test_clashes(arguments, message):
    register_family(OwnConfig)
    with pytest.raises(RegistrationError, match=message):
        register_family(**arguments)


def test_what_a_broken_family_says_and_that_it_takes_nobody_along(family, tmp_path):
    (tmp_path / "raises.py").write_text("1 / 0\n")
    (tmp_path / "clashing.py").write_text(
        "from transformers import TokenizersBackend\nclass ByteTokenizer(TokenizersBackend):\n    pass\n"
    )
    code = """
        from hf_tokext import RegistrationError
        register_family("no_such_module:C", tokenizer="no_such_module:T")
        register_family("pretend_config:C", tokenizer="clashing:ByteTokenizer")
        register_family("raises:C", models={"AutoModel": "raises:M"})
        for _ in range(2):  # the second finds all in order
            try:
                from transformers import AutoTokenizer, AutoModel
            except RegistrationError as error:
                print(str(error).rpartition(" ")[2], len(error.__notes__))
        from transformers import AutoConfig
        print(AutoConfig.for_model("tokext_glyph").model_type)
        from transformers.models.auto.tokenization_auto import REGISTERED_TOKENIZER_CLASSES as known
        print(*(known[name].__module__.partition(".")[0] for name in ("ByteTokenizer", "GlyphTokenizer", "T")))
    """
    # with AutoTokenizer come configs and models: two configs, two tokenizers and a model are refused
    found = fresh(family + textwrap.dedent(code) + USE)
    assert found == [
        *("no_such_module:C", "4", "tokext_glyph", "hf_tokext", "hf_tokext", "pretend_tokenizer"),
        *("C", "M", "AutoTokenizer", "T"),
    ]


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


def test_where_the_import_fails_too_its_error_tells_of_the_broken_family(family, tmp_path):
    (tmp_path / "fails.py").write_text("from transformers import AutoTokenizer\n1 / 0\n")
    code = """
        register_family("no_such_module:C", tokenizer="no_such_module:T")
        register_family("fails:C", tokenizer="fails:T")
        try:
            import fails
        except ZeroDivisionError as error:
            print(sum("no_such_module:C" in note for note in error.__notes__))
    """
    assert fresh(family + textwrap.dedent(code)) == ["2"]
