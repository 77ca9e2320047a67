"""What `LLVMIRDomain` keeps of real programs, what it costs, and what random models write under its grammar.

    python scripts/repro_llvm_ir.py                       # everything
    python scripts/repro_llvm_ir.py --sequences 0         # without the random model

Modules are C sources of two source distributions (zopfli, brotli) by Debian's clang 16 at -O0 and -O2, fetched once, and a
Rust program by the rustc that is installed. Of each module: whether text mode gives every lexeme back; whether what it
writes parses and verifies (llvmlite) with the same instructions; whether the normal form does, and stays what it is when
all locals are renamed. Tokens an instruction are counted on every other file, beside byte-level BPE trained on the others.
Needs llvmlite. The exit code is 1 where something is not as it should be.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter, deque
from pathlib import Path

import llvmlite.binding as llvm
import torch
from ir_samples import SOURCES, ir_of_c, ir_of_rust
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList

from hf_tokext.measure.ir import measure_ir
from hf_tokext.models.llvm_ir.domain import LLVMIRDomain
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor
from hf_tokext.vocabulary.ir_lexer import SCAN, lexemes


def opcodes(text: str) -> list[str]:
    """Opcodes of all functions, after LLVM has parsed and verified the module."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    return [i.opcode for function in module.functions for block in function.blocks for i in block.instructions]


def parses(text: str) -> bool:
    """Whether LLVM parses a module."""
    try:
        llvm.parse_assembly(text, llvm.create_context())
    except RuntimeError:
        return False
    return True


def with_names(text: str) -> str:
    """The module with all values and blocks named anew; LLVM's own numbers become names."""
    module = llvm.parse_assembly(text, llvm.create_context())  # in a shared one types get other names
    for function in module.functions:
        for number, argument in enumerate(function.arguments):
            argument.name = f"argument.{number}"
        for number, block in enumerate(function.blocks):
            block.name = f"a block {number}"
            for place, instruction in enumerate(block.instructions):
                if str(instruction.type) != "void":
                    instruction.name = f"v{number}.{place}"
    return str(module)


def check(name: str, paths: list[Path], text_mode: LLVMIRDomain, normal: LLVMIRDomain) -> bool:
    """Round trips of a set; says whether all is well."""
    counts: Counter[str] = Counter()
    seconds = size = 0.0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        started = time.process_time()
        indices = text_mode.parse(text)
        written = text_mode.write(indices)
        seconds += time.process_time() - started
        size += len(text)
        text_mode.grammar.read(indices)
        counts["modules"] += 1
        counts["every lexeme back"] += lexemes(written) == lexemes(text)
        found = opcodes(text)
        counts["instructions"] += len(found)
        counts["verified, same opcodes"] += opcodes(written) == found
        ids = normal.parse(text)
        form = normal.write(ids)
        left = opcodes(form)
        debug = len(re.findall(r"call void @llvm\.dbg\.", text))
        counts["normal form verified, same opcodes"] += left == found if not debug else len(left) == len(found) - debug
        counts["normal form of itself"] += normal.parse(form) == ids
        counts["normal form after renaming"] += normal.parse(with_names(text)) == normal.parse(
            str(llvm.parse_assembly(text, llvm.create_context()))
        )
    print(f"\n{name}: {size / 1e6:.2f} MB; {dict(counts)}; {size / 1e6 / seconds:.2f} MB/s there and back")
    wanted = [value for what, value in counts.items() if what not in ("modules", "instructions")]
    return all(value == counts["modules"] for value in wanted)


def bpe(texts: list[str], sizes: list[int]) -> dict[int, Tokenizer]:
    """Byte-level BPE of several sizes; a smaller one has the first merges of the largest."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=max(sizes), initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator(texts, trainer)
    found = {}
    for size in sizes:
        state = json.loads(core.to_str())
        model = state["model"]
        model["vocab"] = {token: index for token, index in model["vocab"].items() if index < size}
        model["merges"] = model["merges"][: max(size - len(alphabet), 0)]
        found[size] = Tokenizer.from_str(json.dumps(state))
    return found


def costs(name: str, paths: list[Path], domains: list[LLVMIRDomain]) -> None:
    """Tokens an instruction on held-out files."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    learnt, held = texts[::2], texts[1::2]
    count = sum(len(opcodes(text)) for text in held)
    figures = [f"{domain.mode} {sum(len(domain.parse(text)) for text in held) / count:.1f}" for domain in domains]
    figures.append(f"lexemes {sum(len(lexemes(text)) for text in held) / count:.1f}")
    forms = [domains[1].write(domains[1].parse(text)) for text in texts]
    cores, others = (bpe(some, [2048, 10000]) for some in (learnt, forms[::2]))
    for size, core in cores.items():
        other = others[size]
        figures.append(f"BPE {size:,} {sum(len(core.encode(text).ids) for text in held) / count:.1f}")
        figures.append(
            f"BPE {size:,} of the normal form {sum(len(other.encode(text).ids) for text in forms[1::2]) / count:.1f}"
        )
    print(f"{name}: tokens an instruction on {len(held)} held-out files ({count:,} instructions): {'; '.join(figures)}")


def throughput(texts: list[str]) -> None:
    """The lexer beside what bounds it.

    That is a scan of its own expression that keeps nothing; `str.split`, which makes strings by a loop in C and knows no
    grammar; and a copy of the bytes, which is what memory gives.
    """
    size = sum(map(len, texts)) / 1e6
    domain = LLVMIRDomain("text")
    ids = [domain.parse(text) for text in texts]
    ways = {
        "lexemes": lambda number: lexemes(texts[number]),
        "bare scan": lambda number: deque(iter(SCAN.scanner(texts[number]).match, None), 0),
        "str.split": lambda number: texts[number].split(),
        "copy of the bytes": lambda number: bytearray(texts[number].encode()),
        "ids of a text": lambda number: domain.parse(texts[number]),
        "text of ids": lambda number: domain.write(ids[number]),
    }
    figures = []
    for what, way in ways.items():
        seconds = []
        for _ in range(3):
            started = time.process_time()
            for number in range(len(texts)):
                way(number)
            seconds.append(time.process_time() - started)
        figures.append(f"{what} {size / max(min(seconds), 1e-6):.1f}")
    print(f"\nMB/s on {size:.1f} MB, one core, best of three: " + "; ".join(figures))


def planted(path: Path, folder: Path) -> bool:
    """Whether a function planted twice under other names is found."""
    text = path.read_text(encoding="utf-8")
    functions = re.findall(r"^define .*?^}\n", text, re.DOTALL | re.MULTILINE)
    chosen = [function for function in functions if function.count("\n") > 12][:2]
    before = measure_ir([path])
    copies = [re.sub(r"@[\w.]+\(", f"@planted{number}(", function, count=1) for number, function in enumerate(chosen)]
    copies = [re.sub(r"%(\d+)", r"%v\1", re.sub(r"^(\d+):", r"v\1:", copy, flags=re.MULTILINE)) for copy in copies]
    target = folder / "planted.ll"
    target.write_text(text + "\n" + "\n".join(copies))
    after = measure_ir([target])
    found = sum(f.duplicate for f in after.functions) - sum(f.duplicate for f in before.functions)
    print(f"planted: {len(copies)} copies with other names, {found} found")
    return found == len(copies)


def random_models(domain: LLVMIRDomain, count: int, length: int) -> bool:
    """Sequences of a small random LM under the grammar."""
    size = len(domain.tokens)
    malformed = total = parsed = 0
    for number, ways in enumerate(
        ({"do_sample": True}, {"do_sample": True, "temperature": 3.0}, {"do_sample": False}, {"num_beams": 2})
    ):
        torch.manual_seed(number)
        config = LlamaConfig(
            vocab_size=size + 1, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=length, bos_token_id=0, eos_token_id=size, pad_token_id=size,
        )  # fmt: skip
        share = count * 2 // 5 if number < 2 else count // 10
        made = 0
        while made < share:
            model = LlamaForCausalLM(config).eval()  # another one each time, so that greedy sequences differ
            with torch.no_grad():
                model.lm_head.weight.normal_(std=2.0)
            rows = min(100 if ways.get("do_sample") else 10, share - made)
            processor = GrammarLogitsProcessor([(domain, 0)], length, domain.name, size)
            prompt = torch.zeros(rows, 1, dtype=torch.long)
            ids = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_length=length,
                logits_processor=LogitsProcessorList([processor]), **ways,
            )  # fmt: skip
            for row in ids.tolist():
                row = [index for index in row if index < size]
                good = row[-1] == 1 and domain.grammar.complete(domain.grammar.read(row))
                written = domain.write(row)
                good = good and lexemes(domain.write(domain.parse(written))) == lexemes(written)
                malformed += not good
                parsed += parses(written)
            made, total = made + rows, total + rows
        print(f"  {total:,} sequences, {malformed} malformed; LLVM parses {parsed} of them", flush=True)
    return malformed == 0


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=10_000)
    parser.add_argument("--programs", nargs="*", choices=[*SOURCES, "rust"], default=["zopfli", "brotli", "rust"])
    parser.add_argument("--length", type=int, default=48, help="tokens of a sequence")
    arguments = parser.parse_args()
    domains = [LLVMIRDomain("text"), LLVMIRDomain("normalised")]
    good, texts = True, []
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for name in [name for name in SOURCES if name in arguments.programs]:
        for level in ("-O0", "-O2"):
            paths = ir_of_c(name, level)
            good &= check(f"{name} {level}", paths, *domains)
            costs(f"{name} {level}", paths, domains)
            texts += [path.read_text(encoding="utf-8") for path in paths]
    rust = ir_of_rust() if "rust" in arguments.programs else []
    good &= check("rust", rust, *domains) if rust else True
    throughput(texts or [path.read_text(encoding="utf-8") for path in rust or ir_of_c("zopfli", "-O0")])
    first = ir_of_c("zopfli", "-O0")
    good &= planted(first[0], first[0].parent.parent)
    if arguments.sequences:
        good &= random_models(domains[0], arguments.sequences, arguments.length)
    print("\nall is well" if good else "\nNOT all is well")
    sys.exit(not good)


if __name__ == "__main__":
    main()
