"""Does anything that is generated leave the grammar of images, sounds and depth maps?

    python scripts/repro_multimodal_grammar.py                       # 10,000 sequences of a random LM, 100 of SmolLM2-135M
    python scripts/repro_multimodal_grammar.py --sequences 1000 --smollm2 0

A random language model of two layers, and SmolLM2-135M, are extended by three codecs (an image has 12 places in two codebooks,
depth has 16, sounds as many as they like; one layout each) and write on from prompts that hold text, an image, a sound and
depth, or half a document, in one batch: greedily, drawn at several temperatures with top-k, top-p and min-p, by beams, and by
drawn beams, with and without `only`, with room for hundreds of ids or for hardly one document. The codecs are as they begin;
what they would decode does not matter here. A sequence is well-formed if every start marker is followed by all codes of the
document, each of the codebook whose turn it is, and by its end marker, and if no code or marker stands elsewhere. That is
checked by loops of its own, not by the grammar. The random LM's rows of codes are made large, so that it wants them everywhere.
Exits with 1 where one sequence is not well-formed.
"""

import argparse
import random
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
import torch
from samples import sample
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hf_tokext import (
    DepthCodecConfig,
    DepthCodecImageProcessor,
    DepthCodecModel,
    ImageCodecConfig,
    ImageCodecImageProcessor,
    ImageCodecModel,
    SpeechCodecConfig,
    SpeechCodecFeatureExtractor,
    SpeechCodecModel,
    extend_with_codecs,
)

RATE, HOP = 8000, 160
LAYOUTS = {"image": "interleave", "speech": "delay", "depth": "flat"}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "drawn": {"do_sample": True},
    "drawn hot": {"do_sample": True, "temperature": 3.0, "top_k": 20},
    "drawn narrow": {"do_sample": True, "top_p": 0.5, "min_p": 0.2, "repetition_penalty": 1.2},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "drawn beams": {"num_beams": 2, "do_sample": True, "num_return_sequences": 2},
}
ONLY = (None, None, None, "image", "speech", "depth")


def letters() -> Any:
    """A tokenizer of single bytes, whose small vocabulary leaves the time to what is looked at."""
    alphabet = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE({text: index for index, text in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def extended(model: Any, tokenizer: Any, seed: int) -> tuple[Any, Any]:
    """A language model with three codecs."""
    torch.manual_seed(seed)
    books = {"quantizer": "rvq", "quantizer_options": {"size": 64, "codebooks": 2}}
    image = ImageCodecModel(ImageCodecConfig(image_size=32, num_latents=12, **books))
    sound = SpeechCodecModel(
        SpeechCodecConfig(sampling_rate=RATE, filters=4, strides=[4, 5, 8], lstm_layers=0, latent_dim=16, **books)
    )
    depth = DepthCodecModel(DepthCodecConfig(image_size=32, hidden_sizes=[8, 8, 8], latent_dim=16))
    side = {"height": 32, "width": 32}
    codecs = {
        "image": (image, ImageCodecImageProcessor(size=side)),
        "speech": (sound, SpeechCodecFeatureExtractor(sampling_rate=RATE, hop_length=HOP)),
        "depth": (depth, DepthCodecImageProcessor(size=side)),
    }
    options = {name: {"layout": layout} for name, layout in LAYOUTS.items()}
    model, processor = extend_with_codecs(model.eval(), tokenizer, codecs, options=options, calibrate=False, seed=seed)
    processor.tokenizer.padding_side = "left"
    return model, processor


def prompts(processor: Any, count: int, chance: random.Random, draw: np.random.Generator) -> Any:
    """A batch of prompts of all kinds."""
    texts, values = [], {"image": [], "speech": [], "depth": []}
    makers = {
        "image": lambda: draw.integers(0, 256, (32, 32, 3), dtype=np.uint8),
        "speech": lambda: draw.standard_normal(chance.randint(1, 9) * HOP - 7).astype(np.float32),
        "depth": lambda: draw.random((32, 32)) + 0.1,
    }
    for _ in range(count):
        parts = ["It was a long day, and "]
        for _ in range(chance.randint(1, 3)):
            kind = chance.choice(("text", "text", *makers))
            if kind == "text":
                parts.append(chance.choice(("a cat", "It was", " and ", "x = 1\n", "Here is")))
            else:
                parts.append(f"<|{kind}|>")
                values[kind].append(makers[kind]())
        texts.append("".join(parts))
    return processor(texts, sampling_rate=RATE, **{name: each for name, each in values.items() if each})


def wrong(row: list[int], spaces: Any, counts: Counter) -> str | None:
    """What is not well-formed in a row, by loops of its own."""
    at = 0
    while at < len(row):
        opened = [space for space in spaces.values() if space.start == row[at]]
        if not opened:
            stray = [
                s.name
                for s in spaces.values()
                if row[at] in (s.end, s.placeholder) or s.base <= row[at] < s.base + s.size
            ]
            if stray:
                return f"id {row[at]} of {stray[0]} stands alone at place {at}"
            at += 1
            continue
        (space,) = opened
        if space.end not in row[at:]:
            return f"{space.name} at place {at} has no end"
        end = row.index(space.end, at)
        found = row[at + 1 : end]
        sizes = list(space.codebooks)
        steps = len(found) // len(sizes)
        if not steps or len(found) % len(sizes) or space.steps not in (None, steps):
            return f"{space.name} at place {at} has {len(found)} codes"
        turns = {
            "flat": [book for book in range(len(sizes)) for _ in range(steps)],
            "interleave": [book for _ in range(steps) for book in range(len(sizes))],
            "delay": [
                book
                for moment in range(steps + len(sizes) - 1)
                for book in range(len(sizes))
                if 0 <= moment - book < steps
            ],
        }[space.layout]
        for place, (index, book) in enumerate(zip(found, turns, strict=True)):
            first = space.base + sum(sizes[:book])
            if not first <= index < first + sizes[book]:
                return f"{space.name} at place {at} has id {index} at place {place}, where codebook {book} has its turn"
        counts[space.name] += 1
        at = end + 1
    return None


def run(model: Any, processor: Any, sequences: int, batch: int, seed: int, longest: int) -> int:
    """Generate and check; prints a line a way, and returns how many were not well-formed."""
    chance, draw = random.Random(seed), np.random.default_rng(seed)
    torch.manual_seed(seed)
    done: Counter = Counter()
    documents: dict[str, Counter] = {way: Counter() for way in WAYS}
    bad, ids, started = 0, 0, time.perf_counter()
    for turn in range(10**9):
        if sum(done.values()) >= sequences:
            break
        way = list(WAYS)[turn % len(WAYS)]
        only = ONLY[(turn // len(WAYS)) % len(ONLY)]
        given = prompts(processor, batch, chance, draw)
        given = {name: value.to(model.device) for name, value in given.items()}
        if turn % 3 == 2 and only is None:  # half a document: the codes in place, and the last ids cut away
            read = model.read(given["input_ids"], given).ids
            given = {"input_ids": read[:, : -chance.randint(1, 6)], "attention_mask": given["attention_mask"]}
            given["attention_mask"] = given["attention_mask"][:, : given["input_ids"].shape[1]]
            cut = longest
        else:
            cut = chance.choice((longest, longest, 40)) if only is None else longest
        found = model.generate(**given, **WAYS[way], only=only, max_new_tokens=cut)
        if "image_pixel_values" in given or any(name.endswith("_values") for name in given):
            found[:, : given["input_ids"].shape[1]] = model.read(given["input_ids"], given).ids.repeat_interleave(
                len(found) // len(given["input_ids"]), 0
            )
        for row in found.tolist():
            fault = wrong(row, processor.spaces, documents[way])
            if fault:
                bad += 1
                print(f"  NOT WELL-FORMED ({way}, only={only}): {fault}")
        done[way] += len(found)
        ids += found[:, given["input_ids"].shape[1] :].numel()
    for way, count in done.items():
        held = ", ".join(f"{number:,} {name}" for name, number in sorted(documents[way].items()))
        print(f"  {way:14} {count:6,} sequences with {held or 'no document'}")
    print(
        f"  {sum(done.values()):,} sequences, {bad} not well-formed; {ids:,} ids in {time.perf_counter() - started:.0f} s"
    )
    return bad


def main() -> int:
    """Run both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=10_000, help="of the random model")
    parser.add_argument("--smollm2", type=int, default=100, help="sequences of SmolLM2-135M")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    bad = 0
    for seed in range(arguments.seeds):
        tokenizer = letters()
        torch.manual_seed(seed)
        random_lm = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                bos_token_id=1, eos_token_id=2, pad_token_id=0,
            )
        )  # fmt: skip
        model, processor = extended(random_lm, tokenizer, seed)
        with torch.no_grad():
            for space in processor.spaces.values():
                model.get_output_embeddings().weight[space.grammar_ids] *= 30
        print(f"random model, seed {seed}", flush=True)
        bad += run(model.to(arguments.device), processor, arguments.sequences, arguments.batch, seed, 90)
    if arguments.smollm2:
        folder = sample("smollm2-135m")
        smollm2 = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model, processor = extended(smollm2, AutoTokenizer.from_pretrained(folder), 0)
        print("SmolLM2-135M", flush=True)
        bad += run(model.to(arguments.device), processor, arguments.smollm2, 8, 0, 60)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
