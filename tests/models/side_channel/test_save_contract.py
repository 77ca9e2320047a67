"""Who gets what from a saved folder: with the package imported, installed and absent; and from a damaged one."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from hf_tokext.errors import CheckpointError
from hf_tokext.models.side_channel.configuration_side_channel import SideChannelConfig
from hf_tokext.registry import CODE_FILE
from tests.another_process import in_another_process
from tests.models.side_channel.conftest import (
    CAUSAL,
    SEQ2SEQ,
    TABLES,
    batch,
    inputs_of,
    logits,
    make,
    same_weights,
)  # fmt: skip

AUTO = {"llama": "AutoModelForCausalLM", "gpt2": "AutoModelForCausalLM", "gemma3": "AutoModelForCausalLM"}
AUTO |= dict.fromkeys(SEQ2SEQ, "AutoModelForSeq2SeqLM")
OWN = {name: "SideChannelForConditionalGeneration" if name in SEQ2SEQ else "SideChannelForCausalLM" for name in AUTO}


@pytest.mark.parametrize("name", CAUSAL + SEQ2SEQ)
def test_the_folder_names_the_installed_classes(name, tmp_path):
    make(name).save_pretrained(tmp_path)
    entry = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert entry == {"AutoConfig": "hf_tokext_auto.SideChannelConfig", AUTO[name]: f"hf_tokext_auto.{OWN[name]}"}
    namespace = {}
    exec((tmp_path / CODE_FILE).read_text(), namespace)
    assert all(name_of.rpartition(".")[2] in namespace for name_of in entry.values())


@pytest.mark.parametrize("imported", [True, False])
def test_in_another_process_it_is_the_same(imported, tmp_path):
    """Imported, nothing is asked; installed only, it takes trust and gives the installed classes."""
    names, (given, side) = ("llama", "gpt2", "t5", "bart"), batch()
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    models = {name: make(name, dtype=torch.float32) for name in names}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        torch.save(inputs_of(name, given, side), tmp_path / f"{name}.inputs")
    out, error = in_another_process(f"""
        {"import hf_tokext" if imported else ""}
        import torch, transformers
        from pathlib import Path
        here, trust = Path({str(tmp_path)!r}), {{}} if {imported} else {{"trust_remote_code": True}}
        for name, auto in {[(name, AUTO[name]) for name in names]!r}:
            config = transformers.AutoConfig.from_pretrained(here / name, **trust)
            model = getattr(transformers, auto).from_pretrained(here / name, **trust)
            inputs = torch.load(here / f"{{name}}.inputs")
            with torch.no_grad():
                found = model(**inputs).logits
            ids = model.generate(inputs["input_ids"], side_ids=inputs["side_ids"], **{options!r})
            torch.save((found, ids), here / f"{{name}}.found")
            model.save_pretrained(here / f"{{name}}-again")
            print(name, type(config).__module__, type(model).__module__)
    """)
    here = "hf_tokext.models.side_channel."
    assert out == [f"{name} {here}configuration_side_channel {here}modeling_side_channel" for name in names], error
    for name, model in models.items():
        found, ids = torch.load(tmp_path / f"{name}.found")
        torch.testing.assert_close(found, logits(model, **inputs_of(name, given, side)), rtol=0, atol=1e-6)
        assert torch.equal(ids, model.generate(given, side_ids=side, **options))
        again = tmp_path / f"{name}-again"
        configs = [json.loads((where / "config.json").read_text()) for where in (tmp_path / name, again)]
        for config in configs:
            config["backbone_config"].pop("dtype", None)  # transformers writes it into the inner one when it loads
        assert configs[0] == configs[1]
        assert [path.name for path in again.glob("*.py")] == [CODE_FILE]  # ours is not copied
        same_weights(type(model).from_pretrained(again), model)


def test_absent_it_is_said_what_to_install(tmp_path):
    make("llama").save_pretrained(tmp_path)
    out, error = in_another_process(
        f"""
        from transformers import AutoModelForCausalLM
        AutoModelForCausalLM.from_pretrained({str(tmp_path)!r}, trust_remote_code=True)
        """,
        without_package=True,
    )
    assert out == [] and "pip install hf_tokext" in error


def test_the_config_alone_says_everything(tmp_path):
    config = make("bart").config
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert type(again) is SideChannelConfig and again.side_tables == config.side_tables
    assert (again.vocab_size, again.hidden_size, again.is_encoder_decoder) == (96, 16, True)
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
    assert [getattr(again, name) for name in names] == [getattr(config.backbone_config, name) for name in names]


def test_ids_that_the_config_gives_are_the_backbones():
    """It is the backbone that shifts labels, and whose settings generate takes."""
    config = SideChannelConfig(
        backbone_config={"model_type": "t5", "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 9},
        decoder_start_token_id=3, pad_token_id=4,
    )  # fmt: skip
    model = AutoModelForSeq2SeqLM.from_config(config)
    assert model.prepare_decoder_input_ids_from_labels(torch.tensor([[5, -100]])).tolist() == [[3, 5]]
    assert model.generate(torch.tensor([[5]]), max_new_tokens=1)[0, 0] == 3
    assert (model.generation_config.pad_token_id, model.backbone.config.pad_token_id) == (4, 4)


@pytest.fixture
def folder(tmp_path):
    make("llama").save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


def test_a_checkpoint_with_a_part_of_a_table_is_refused(folder):
    edit(folder, lambda state: state.pop("side.tables.kinds.mlp.0.weight"))
    with pytest.raises(CheckpointError, match="lacks side.tables.kinds.mlp.0.weight, but has the rest"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_a_checkpoint_with_a_table_that_its_config_does_not_name_is_refused(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    for tables in ({}, {"kind": TABLES["kinds"]} | {name: TABLES[name] for name in ("shells", "tags")}):
        (folder / "config.json").write_text(json.dumps(config | {"side_tables": tables}))
        with pytest.raises(
            CheckpointError, match="has side.tables.kinds.mlp.0.bias, of a side table that its config does"
        ):
            AutoModelForCausalLM.from_pretrained(folder)
    # layers that the config does not ask for
    (folder / "config.json").write_text(json.dumps(config | {"side_tables": TABLES | {"kinds": {"size": 5}}}))
    with pytest.raises(CheckpointError, match="describes otherwise"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_rows_of_another_number_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"side_tables": TABLES | {"kinds": TABLES["kinds"] | {"size": 6}}})
    )
    with pytest.raises(RuntimeError, match="size mismatch|mismatched"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_a_cut_off_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(Exception, match="(?i)incomplete|metadata|header"):
        AutoModelForCausalLM.from_pretrained(folder)


def test_one_more_table_on_a_checkpoint_begins_at_zero(folder, caplog):
    config = SideChannelConfig.from_pretrained(folder)
    more = SideChannelConfig(backbone_config=config.backbone_config, side_tables=TABLES | {"zones": {"size": 7}})
    loaded, info = AutoModelForCausalLM.from_pretrained(folder, config=more, output_loading_info=True)
    assert set(info["missing_keys"]) == {"side.tables.zones.rows.weight"}
    assert not loaded.side.tables["zones"].rows.weight.any() and loaded.side.tables["shells"].rows.weight.any()


def test_shards_load_alike_and_parts_may_lie_on_disk(tmp_path):
    model = make("llama", dtype=torch.float32)
    model.save_pretrained(tmp_path / "model", max_shard_size="5KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    inputs = inputs_of("llama", *batch())
    same_weights(AutoModelForCausalLM.from_pretrained(tmp_path / "model", device_map="auto"), model)
    body = "backbone.model."
    places = {f"{body}embed_tokens": "disk", f"{body}layers.0": "disk", f"{body}layers.1": "cpu", f"{body}norm": "cpu"}
    places |= {f"{body}rotary_emb": "cpu", "backbone.lm_head": "disk", "side": "disk"}
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", device_map=places, offload_folder=tmp_path / "disk"
    )
    assert again.hf_device_map == places and again.side.tables["tags"].weights.device.type == "meta"
    torch.testing.assert_close(logits(again, **inputs), logits(model, **inputs), rtol=0, atol=1e-6)
    ids, side = batch()
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    assert torch.equal(again.generate(ids, side_ids=side, **options), model.generate(ids, side_ids=side, **options))
    again.save_pretrained(tmp_path / "saved")
    same_weights(AutoModelForCausalLM.from_pretrained(tmp_path / "saved"), model)
    shutil.rmtree(tmp_path / "disk")
