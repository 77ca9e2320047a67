"""What `SVGDomain` keeps of real drawings, what it costs, and what hostile input does to it.

    python scripts/repro_svg.py                        # all sets and checks
    python scripts/repro_svg.py --files 40 --mutants 500 --sequences 300

Drawings are Debian's tango-icon-theme, adwaita-icon-theme, papirus-icon-theme and openclipart-svg, fetched by apt once.
Of each file: whether it is read; whether what is written is the same when it is read and written again; of those that libxml2
reads, too, the others being listed, whether the canonical XML (C14N, processing instructions aside) of what is written equals
that of the file, and whether it has the same tokens; and whether cairosvg draws both alike, at 64 pixels. Tokens are counted
beside a byte-level BPE of 8,192 ids that is trained on half of the set and counted on the other, halves being drawn by the
names of the files, as themes draw one icon in several sizes. Needs cairosvg and lxml. The exit code is 1 where something is not
as it should be.
"""

import argparse
import random
import re
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import torch
from debian import debian
from lxml import etree
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from hf_tokext.errors import TokextError
from hf_tokext.models.svg.domain import SVGDomain
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor

SETS = {
    "tango": ("tango-icon-theme", 213),
    "adwaita": ("adwaita-icon-theme", 300),
    "papirus": ("papirus-icon-theme", 300),
    "openclipart": ("openclipart-svg", 500),
}
PIXELS = 64
LONGEST = 1 << 20  # bytes of a file that is drawn


def drawings(package: str, count: int) -> list[Path]:
    """Files of a package, links left out, drawn by chance."""
    found = sorted(path for path in debian(package).rglob("*.svg") if path.is_file() and not path.is_symlink())
    found = [path for path in found if not any(parent.is_symlink() for parent in path.parents)]
    return sorted(random.Random(0).sample(found, min(count, len(found))))


def canonical(text: str) -> str:
    """Canonical XML (C14N 2.0) without comments and processing instructions."""
    return ElementTree.canonicalize(re.sub(r"<\?.*?\?>", "", text, flags=re.DOTALL))


def pixels(text: str) -> bytes:
    """The drawing as a picture."""
    import cairosvg

    return cairosvg.svg2png(bytestring=text.encode(), output_width=PIXELS, output_height=PIXELS, unsafe=False)


def bpe(texts: list[str]) -> Tokenizer:
    """Byte-level BPE of 8,192 ids."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=8192, initial_alphabet=alphabet, show_progress=False)
    )
    return core


def real_drawings(domain: SVGDomain, name: str, paths: list[Path]) -> bool:
    """Read, write and draw a set; says whether all is well."""
    counts: Counter[str] = Counter()
    troubles, kept, seconds = [], {}, 0.0
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="strict")
        try:
            started = time.process_time()
            indices = domain.parse(text)
            written = domain.write(indices)
            seconds += time.process_time() - started
        except TokextError as error:
            troubles.append(f"{path.name}: {error}")
            continue
        counts["read"] += 1
        try:
            etree.fromstring(text.encode(), etree.XMLParser(huge_tree=True))
            counts["read by libxml2"] += 1
            counts["canonical"] += canonical(written) == canonical(text)
            counts["same tokens"] += domain.parse(written) == indices
        except etree.XMLSyntaxError as error:
            troubles.append(f"{path.name}: libxml2 cannot read it ({error})")
        counts["the same when written again"] += domain.write(domain.parse(written)) == written
        domain.grammar.read(indices)
        kept[path] = text, len(indices)
        if len(text) > LONGEST:
            continue
        try:
            before = pixels(text)
        except Exception as error:  # whatever a renderer raises
            troubles.append(f"{path.name}: cairosvg cannot draw it ({type(error).__name__})")
            continue
        counts["drawn"] += 1
        counts["same pixels"] += before == pixels(written)
    names = sorted({path.stem for path in kept})
    learnt = set(random.Random(1).sample(names, len(names) // 2))
    core = bpe([text for path, (text, _) in kept.items() if path.stem in learnt])
    held = [(text, size) for path, (text, size) in kept.items() if path.stem not in learnt]
    ours, theirs = sum(size for _, size in held), sum(len(core.encode(text).ids) for text, _ in held)
    print(f"\n{name}: {len(paths)} files, {sum(len(text) for text, _ in kept.values()) / 1e6:.1f} MB; {dict(counts)}")
    print(f"  {ours / len(held):,.0f} tokens a drawing, byte-level BPE {theirs / len(held):,.0f} ({theirs / ours:.2f} x ours), "
          f"on {len(held)} held out; {sum(len(t) for t, _ in kept.values()) / 1e6 / seconds:.2f} MB/s there and back",
          flush=True)  # fmt: skip
    for trouble in troubles:
        print(f"  {trouble[:160]}")
    right = counts["read"] == counts["the same when written again"] == len(paths)
    right &= counts["canonical"] == counts["same tokens"] == counts["read by libxml2"]
    return right and counts["same pixels"] == counts["drawn"]


def mutants(domain: SVGDomain, paths: list[Path], count: int) -> bool:
    """Random and mutated inputs: each is read and comes back, or is refused with a reason."""
    draw, counts = random.Random(2), Counter()
    texts = [path.read_text(encoding="utf-8")[:20_000] for path in paths]
    hard = [
        "<",
        ">",
        "&",
        "&a;",
        "<![CDATA[",
        "]]>",
        "<!--",
        "\0",
        "\ud800",
        '"',
        "'",
        "=",
        "<!ENTITY",
        "e",
        "99999999999",
    ]
    slowest = 0.0
    for number in range(count):
        text = draw.choice(texts)
        for _ in range(draw.choice((1, 1, 3, 20))):
            at = draw.randrange(len(text) + 1)
            new = draw.choice(
                (draw.choice(hard), chr(draw.randrange(0x110000)), "", text[draw.randrange(len(text)) :][:30])
            )
            text = text[:at] + new + text[at + draw.choice((0, 0, 1, 10)) :]
        if number % 10 == 0:
            text = "".join(draw.choices(hard + list("<svg/> abc"), k=draw.randint(0, 60)))
        started = time.perf_counter()
        try:
            indices = domain.parse(text)
            counts["read"] += 1
            etree.fromstring(domain.write(indices).encode(), etree.XMLParser(huge_tree=True))
        except TokextError:
            counts["refused"] += 1
        slowest = max(slowest, time.perf_counter() - started)
    for number in range(count):
        indices = draw.choices(range(len(domain.tokens)), k=draw.randint(0, 200))
        if number % 2:
            indices = [draw.choice(indices or [2]) if draw.random() < 0.5 else draw.randrange(130) for _ in indices]
        etree.fromstring(domain.write(indices).encode(), etree.XMLParser(huge_tree=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"\n{count:,} mutants: {dict(counts)}, the slowest {slowest:.2f} s; {count:,} random token sequences, all of them "
          f"well-formed; {peak:,.0f} MB at most")  # fmt: skip
    return slowest < 10


def generation(domain: SVGDomain, count: int) -> bool:
    """Sequences of a small random model under the grammar."""
    base, eos = 3, 0
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=base + len(domain.tokens), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=512, pad_token_id=eos, eos_token_id=eos,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    modes = [
        {"do_sample": True, "num_return_sequences": 64},
        {"num_beams": 8, "num_return_sequences": 8},
        {"do_sample": False},
    ]
    done, bad, started = 0, 0, time.perf_counter()
    while done < count:
        mode = modes[(done // 64) % 3]
        prompt = torch.randint(1, 3, (1 if "num_return_sequences" in mode else 16, 3))
        length = random.Random(done).choice((12, 30, 60))
        processor = GrammarLogitsProcessor([(domain, base)], length, only="svg", eos_token_id=eos)
        found = model.generate(prompt, max_length=length, logits_processor=[processor], **mode)
        for row in found[:, 3:].tolist():
            indices = [index - base for index in row if index != eos]
            try:
                bad += not domain.grammar.complete(domain.grammar.read(indices))
                etree.fromstring(domain.write(indices).encode())
            except (TokextError, etree.XMLSyntaxError) as error:
                print(f"  malformed: {error}")
                bad += 1
        done += len(found)
    print(f"\n{done:,} sequences of a small random model under the grammar (drawn, by beams, greedy): {bad} malformed; "
          f"{time.perf_counter() - started:.0f} s")  # fmt: skip
    return not bad


def main() -> int:
    """Run every check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="of each set at most")
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--sequences", type=int, default=10_000)
    options = parser.parse_args()
    domain, good, some = SVGDomain(), True, []
    for name, (package, count) in SETS.items():
        paths = drawings(package, min(count, options.files))
        some += paths[:20]
        good &= real_drawings(domain, name, paths)
    good &= mutants(domain, some, options.mutants)
    good &= generation(domain, options.sequences)
    return not good


if __name__ == "__main__":
    sys.exit(main())
