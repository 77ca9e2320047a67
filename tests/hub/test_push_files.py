"""Which files of a folder are pushed, which stay here, and which make the whole push refused."""

import json
import shutil

import pytest
import transformers
from transformers import AutoTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

from hf_tokext import (
    ByteTokenizer,
    CheckpointError,
    UnsafeCheckpointError,
    VocabularyError,
    keep_tokenizer,
    push_checkpoint,
)
from hf_tokext.hub.files import is_model_file

NAME = "me/model"


def test_pickles_training_folders_and_code_stay_here(hub, folder, contents):
    wanted = set(contents(folder))
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "evil.py", "notes.txt", ".env", "x.pkl"):
        (folder / name).write_text("x")
    (folder / "credentials.json").write_text("{}")
    for name in ("checkpoint-5", "runs", "model-training", ".git", "sub"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    (folder / "sub" / "trainer_state.json").write_text("{}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ messages }}")
    pushed = push_checkpoint(folder, NAME)
    assert set(hub.repo(NAME).files()) == wanted | {"README.md", "additional_chat_templates/rag.jinja"}
    assert pushed.left_out == sorted(
        [
            ".env",
            ".git/",
            "checkpoint-5/",
            "credentials.json",
            "evil.py",
            "model-training/",
            "notes.txt",
            "optimizer.pt",
        ]
        + ["pytorch_model.bin", "runs/", "sub/", "training_args.bin", "x.pkl"]
    )


@pytest.mark.parametrize("name", ["LICENSE", "tokenizer.json", "hf_tokext_report.md", "extra_config.json", "README.md"])
def test_links_out_of_the_folder_are_refused(hub, folder, tmp_path, name):
    (tmp_path / "secret").write_text("{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafeCheckpointError, match=name):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


def test_a_link_in_a_circle_is_named(hub, folder):
    (folder / "more_config.json").symlink_to("more_config.json")
    with pytest.raises(CheckpointError, match=r"more_config\.json"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


def test_a_processor_alone(hub, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')
    assert push_checkpoint(tmp_path / "p", NAME).files == ["README.md", "preprocessor_config.json"]


def test_other_links_are_left_out_or_followed_inside(hub, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "config.json").write_text("{}")
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    (folder / "notes").symlink_to(tmp_path / "elsewhere" / "config.json")
    (folder / "NOTICE").symlink_to(folder / "LICENSE")
    pushed = push_checkpoint(folder, NAME)
    assert pushed.left_out == ["data/", "notes"] and hub.repo(NAME).files()["NOTICE"] == b"MIT, in full"


def _cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def _missing_shard(folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "model-00001.safetensors"}}))


def _no_map(folder):
    (folder / "model.safetensors.index.json").write_text("{}")


def _trainer(folder):
    (folder / "trainer_state.json").write_text("{}")


def _adapter_of_a_folder(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))


def _foreign(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_x.M"}}))
    (folder / "modeling_x.py").write_text("")


def _too_deep(folder):
    (folder / "tokenizer.json").write_text("[" * 200_000 + "]" * 200_000)


def _nothing(folder):
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "model.safetensors"),
        (_missing_shard, "not there"),
        (_no_map, "weight_map"),
        (_trainer, "trainer's own"),
        (_adapter_of_a_folder, "nobody else has"),
        (_foreign, "names modeling_x.M, code of its own"),
        (_too_deep, "levels"),
        (_nothing, "no checkpoint"),
        (shutil.rmtree, "no folder"),
    ],
)
def test_what_is_not_finished_is_not_pushed(hub, folder, damage, message):
    damage(folder)
    with pytest.raises((CheckpointError, VocabularyError), match=message):
        push_checkpoint(folder, NAME)
    assert hub.requests == [] and hub.repos == {}


def test_what_a_killed_run_left_is_not_pushed(hub, folder):
    left = folder.rename(folder.with_name(".out.tokext-new-0123abcd"))
    with pytest.raises(CheckpointError, match="unfinished"):
        push_checkpoint(left, NAME)
    assert hub.requests == []


def test_pickled_weights_alone_are_refused(hub, folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnsafeCheckpointError, match=r"pytorch_model\.bin"):
        push_checkpoint(folder, NAME)
    assert hub.requests == []


def test_every_file_of_a_stock_tokenizer_is_one_of_the_model():
    names = set()
    for value in TOKENIZER_MAPPING_NAMES.values():
        for each in value if isinstance(value, tuple) else (value,):
            found = getattr(transformers, each, None) if each else None
            files = getattr(found, "vocab_files_names", None) if not getattr(found, "_backends", None) else None
            for file in (files or {}).values():
                names |= {file} if isinstance(file, str) else set(file.values() if isinstance(file, dict) else file)
    assert {"vocab.json", "emoji.json", "bpe.codes", "entity_vocab.json", "tokenizer.json"} <= names
    assert [name for name in sorted(names) if not is_model_file(name)] == []


def test_no_tokenizer_file_of_an_earlier_push_stays(hub, folder):
    earlier = ("tekken.json", "normalizer.json", "modules.json", "vocab-src.json", "emoji.json", "myconfig.json")
    for name in earlier:
        (folder / name).write_text("{}")
    assert set(earlier) <= set(push_checkpoint(folder, NAME).files)
    for name in earlier:
        (folder / name).unlink()
    assert push_checkpoint(folder, NAME).deleted == sorted(earlier)


def test_a_tokenizer_that_would_come_back_as_another_class_is_refused(hub, tmp_path):
    ByteTokenizer().save_pretrained(tmp_path / "bytes")
    (tmp_path / "bytes" / "config.json").write_text('{"model_type": "mistral"}')  # a model saved after its tokenizer
    with pytest.raises(CheckpointError, match=r"make a TokenizersBackend of it: call hf_tokext.keep_tokenizer"):
        push_checkpoint(tmp_path / "bytes", NAME)
    assert hub.requests == []
    assert keep_tokenizer(tmp_path / "bytes")
    push_checkpoint(tmp_path / "bytes", NAME)
    assert type(AutoTokenizer.from_pretrained(NAME, cache_dir=tmp_path / "cache")) is ByteTokenizer
