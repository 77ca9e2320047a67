"""accelerate places transplanted checkpoints, on disk too, and trains them in several processes."""

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from hf_tokext.training import heal_checkpoint
from hf_tokext.training.codec import train_codec
from tests.ecosystem.checkpoints import EXAMPLES, KINDS, generated, is_tied, logits, small
from tests.tokenizers import TEXT
from tests.training.test_codec import SMALL, folder_of

STACK = {"gpt2": ("transformer", "wte", "h", "ln_f")}  # names of the parts; those of Llama and Qwen2 elsewhere


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def checkpoint(kind, tmp_path):
    return small(kind, tmp_path / "base")


def parts(kind):
    """Names of a tiny model's parts, in the order in which they run; the tables first and last."""
    stack, table, layers, norm = STACK.get(kind, ("model", "embed_tokens", "layers", "norm"))
    rest = ("wpe",) if kind == "gpt2" else ("rotary_emb",)
    inner = [f"{stack}.{name}" for name in (table, *rest, f"{layers}.0", f"{layers}.1", norm)]
    return [*inner, "lm_head"]


def placed(kind, *on_disk):
    """A device map with these parts on disk and the others on the CPU."""
    names = parts(kind)
    assert all(0 <= at < len(names) for at in on_disk)
    return {name: "disk" if at in on_disk else "cpu" for at, name in enumerate(names)}


@pytest.mark.parametrize("kind", [*KINDS, "glyph"])
def test_auto(kind, tmp_path):
    """Where memory ends accelerate goes on with the disk, between two layers and never inside one."""
    checkpoint = small(kind, tmp_path / "base", layers=4)
    truth, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    room = int(0.95 * truth.get_memory_footprint())
    model = checkpoint.model(device_map="auto", max_memory={"cpu": room}, offload_folder=str(tmp_path / "offload"))
    layers = next(module for module in model.modules() if isinstance(module, torch.nn.ModuleList))
    places = [{parameter.device.type for parameter in layer.parameters()} for layer in layers]
    assert places[0] == {"cpu"} and places[-1] == {"meta"} and all(len(place) == 1 for place in places)
    assert torch.equal(logits(model, tokenizer), logits(truth, tokenizer))
    assert len(generated(truth, tokenizer)) == 6 and generated(model, tokenizer) == generated(truth, tokenizer)
    assert is_tied(model) == checkpoint.tied


def test_one_layer_on_disk(kind, checkpoint, tmp_path):
    truth, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    model = checkpoint.model(device_map=placed(kind, 3), offload_folder=str(tmp_path / "offload"))
    layer = model.get_submodule(parts(kind)[3])
    assert all(parameter.device.type == "meta" for parameter in layer.parameters())  # it really lies elsewhere
    other = model.get_submodule(parts(kind)[2])
    assert all(parameter.device.type == "cpu" for parameter in other.parameters())
    assert torch.equal(logits(model, tokenizer), logits(truth, tokenizer))
    assert generated(model, tokenizer) == generated(truth, tokenizer)


def test_the_new_tables_on_disk(kind, checkpoint, tmp_path):
    """The tensors that a transplant wrote are read from where they lie; generate needs the embedding in memory."""
    truth, tokenizer = checkpoint.model(), checkpoint.tokenizer()
    model = checkpoint.model(device_map=placed(kind, 0, 5), offload_folder=str(tmp_path / "offload"))
    assert model.get_submodule(parts(kind)[0]).weight.device.type == "meta"
    assert torch.equal(logits(model, tokenizer), logits(truth, tokenizer))


SETTINGS = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def launch(*program):
    """`accelerate launch` on the CPU. Its `--cpu` starts several processes through MPI only, so they are asked for by
    the launcher that uses torch's own, and by the variable that `--cpu` would have set."""
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1",
        "--main_process_port", "0",  # any that is free
        *map(str, program),
    ]  # fmt: skip
    environment = os.environ | SETTINGS
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def launched(folder, text, output, options):
    """`tokext heal` in two processes."""
    given = (part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value))
    said = launch("--module", "hf_tokext.cli", "heal", folder, "--text", text, "--output", output, *given)
    assert said.count("4 steps") == 1  # one of them speaks


def forked(folder, text, output, options):
    """The same, without the launcher's start-up."""
    in_two_processes(lambda: heal_checkpoint(folder, [text.read_text()], output, progress=False, **options))


def in_two_processes(work):
    """What a launcher does: two processes that are told of each other."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_child, args=(rank, port, work)) for rank in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]


def _child(rank, port, work):
    torch.set_num_threads(1)  # the parent's threads did not come along
    os.environ |= SETTINGS | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
    AcceleratorState._reset_state(reset_partial_state=True)
    work()


@pytest.mark.parametrize(
    ("train", "start"),
    [
        ("all", forked),
        pytest.param("all", launched, marks=pytest.mark.long),
        pytest.param("rows", launched, marks=pytest.mark.long),
        pytest.param("lora", launched, marks=pytest.mark.long),
    ],
)
def test_two_processes_learn_what_one_does(train, start, tmp_path):
    """The same windows in every step, so the same losses and the same weights; four to a step, two to a process."""
    checkpoint = small("llama-untied", tmp_path / "base")
    text = tmp_path / "text.txt"
    text.write_text(TEXT * 4)
    options = {"steps": 4, "tokens_per_step": 128, "window": 32, "train": train}
    one, report = heal_checkpoint(checkpoint.folder, [TEXT * 4], tmp_path / "one", progress=False, **options)
    start(checkpoint.folder, text, tmp_path / "two", options)
    found = json.loads((tmp_path / "two" / "hf_tokext_report.json").read_text())["heal"][-1]
    assert found["tokens_seen"] == report.tokens_seen
    assert found["losses"] == pytest.approx(report.losses, rel=1e-4) and len(set(found["losses"])) == 4
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (one, tmp_path / "two")]
    before = checkpoint.model().state_dict()
    moved = {name for name, value in models[0].state_dict().items() if not torch.equal(value, before[name])}
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= moved
    for name in moved:
        value = models[0].state_dict()[name]
        apart, way = (models[1].state_dict()[name] - value).abs(), (value - before[name]).abs()
        # of a gradient near zero the rounding decides the sign, and Adam makes a whole step of it: in few places, of LoRA in rows
        assert apart.quantile(0.98) <= 0.1 * way.max() and apart.norm() <= 0.1 * way.norm(), name
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (checkpoint.folder, tmp_path / "two")]
    assert tokenizers[0](TEXT)["input_ids"] == tokenizers[1](TEXT)["input_ids"]


def losses_of(folder):
    state = json.loads((folder / "run" / "checkpoint-2" / "trainer_state.json").read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


OPTIONS = ("--toy", "--steps", "2", "--batch", "4", "--output")


def example_launched(name, run, output):
    """What both processes print."""
    return launch(EXAMPLES / f"{name}.py", *OPTIONS, output)


def example_forked(name, run, output):
    """The same, without the launcher's start-up."""

    def child():
        said = run(name, *OPTIONS, str(output))
        (output.parent / f"said by {os.environ['RANK']}").write_text(said, encoding="utf-8")

    in_two_processes(child)
    return "".join((output.parent / f"said by {rank}").read_text(encoding="utf-8") for rank in (0, 1))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("finetune_trainer", example_forked),
        pytest.param("finetune_trainer", example_launched, marks=pytest.mark.long),
        pytest.param("finetune_lora_added_tokens", example_launched, marks=pytest.mark.long),
        pytest.param("finetune_lora_new_vocabulary", example_launched, marks=pytest.mark.long),
        pytest.param("train_bytes", example_launched, marks=pytest.mark.long),
    ],
)
def test_the_examples_in_two_processes(name, start, run, tmp_path):
    """transformers' own Trainer in two processes: files are made once, and the same is learnt as in one."""
    said = start(name, run, tmp_path / "two")
    alone = run(name, "--toy", "--steps", "2", "--batch", "8", "--output", "one")
    for words in (said, alone):
        assert words.count("bits per byte") == words.count("saved in") == 1
    one, two = losses_of(tmp_path / "one"), losses_of(tmp_path / "two")
    assert len(set(one)) == 2 and two == pytest.approx(one, rel=1e-4)
    figures = [[float(figure) for figure in re.findall(r"[\d.]+(?= before| after)", words)] for words in (said, alone)]
    assert figures[0] == pytest.approx(figures[1], abs=0.002) and figures[0][1] < figures[0][0] - 0.1
    weights, others = (load_file(next((tmp_path / each).glob("[am]*/*.safetensors"))) for each in ("one", "two"))
    torch.testing.assert_close(others, weights, rtol=1e-3, atol=1e-5)


def test_two_processes_train_the_codec_that_one_does(tmp_path):
    """The same files in every step, two of four to a process; the codebook learns from all of them."""
    data = folder_of("depth", tmp_path / "data", 16)
    options = {"options": SMALL["depth"], "steps": 3, "progress": False}
    one, report = train_codec(data, tmp_path / "one", batch=4, **options)
    in_two_processes(lambda: train_codec(data, tmp_path / "two", batch=2, **options))
    found = json.loads((tmp_path / "two" / "hf_tokext_codec.json").read_text())
    assert [loss for _, loss in found["losses"]] == pytest.approx([loss for _, loss in report.losses], rel=1e-4)
    codecs = [AutoModel.from_pretrained(folder).state_dict() for folder in (one, tmp_path / "two")]
    masses = [
        float(codec["quantizer.codebook.mass"].sum()) for codec in codecs
    ]  # vectors of a step, over all processes
    assert masses[1] == pytest.approx(masses[0], rel=1e-5) and masses[0] == pytest.approx(4 * 16, rel=0.1)
    assert not list(tmp_path.glob(".two*"))
