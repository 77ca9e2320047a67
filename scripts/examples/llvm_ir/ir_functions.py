"""Train a small language model on functions of LLVM modules, let it write some, and ask LLVM whether they are any good.

    python scripts/examples/llvm_ir/ir_functions.py FOLDER --output ir --steps 1000
    python scripts/examples/llvm_ir/ir_functions.py --toy --output ir

FOLDER is searched for .ll and .bc. Every function becomes a module of its own (functions.py) in normal form; every fourth file is
held out, but for functions that the others have, too. `Trainer` trains a small Llama; then it, an untrained one,
and a bigram model with the same data write functions under the same grammar, and llvmlite says how many parse and verify. Prints
the bits that an instruction of the held-out functions costs each of them. The output folder gets the model, the samples as .ll, and
table.html: held-out functions beside the samples, and what LLVM says of them. Needs llvmlite and datasets.
"""

import argparse
import html
import math
from itertools import zip_longest
from pathlib import Path

import llvmlite.binding as llvm
import torch
from datasets import Dataset
from functions import functions
from transformers import DataCollatorForLanguageModeling as Collator
from transformers import LlamaConfig, LlamaForCausalLM, LogitsProcessorList, Trainer, TrainingArguments, set_seed

from hf_tokext import GrammarLogitsProcessor, LLVMIRTokenizer
from hf_tokext.errors import TextError
from hf_tokext.measure.ir_files import ir_files, read_ir

TOY = "define i32 @f{0}(i32 %a) {{\n  %b = {1} i32 %a, {2}\n  %c = {3} i32 %b, %a\n  ret i32 %c\n}}\n"


def toy(folder: Path) -> Path:
    """Eight files of small functions."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        rows = [(at, ("add", "mul", "xor")[at % 3], number * 9 + at, ("sub", "or", "and")[at // 3]) for at in range(9)]
        (folder / f"{number}.ll").write_text("".join(TOY.format(*row) for row in rows))
    return folder


def judged(text: str) -> tuple[bool, bool, int]:
    """Whether a module parses, whether it verifies, and its instructions."""
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
    except RuntimeError:
        return False, False, 0
    count = sum(len(list(block.instructions)) for function in module.functions for block in function.blocks)
    try:
        module.verify()
    except RuntimeError:
        return True, False, count
    return True, True, count


class Bigrams(torch.nn.Module):
    """Counts of pairs, smoothed by counts of single tokens and a constant."""

    def __init__(self, rows: list[list[int]], size: int) -> None:
        super().__init__()
        pairs = torch.zeros(size, size)
        for row in rows:
            pairs.index_put_((torch.tensor(row[:-1]), torch.tensor(row[1:])), torch.ones(len(row) - 1), accumulate=True)
        single = pairs.sum(0) + 0.1
        self.table = ((pairs + 5 * single / single.sum()) / (pairs.sum(1, keepdim=True) + 5)).log()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of what follows, [B, T, V], of ids [B, T]."""
        return self.table[ids]


def bits(scores, rows: list[list[int]]) -> float:
    """Bits of all tokens but the first."""
    total = 0.0
    for row in rows:
        ids = torch.tensor([row])
        with torch.no_grad():
            logits = scores(ids)[0, :-1].log_softmax(-1)
        total -= logits.gather(1, ids[0, 1:, None]).sum().item() / math.log(2)
    return total


def written(scores, tokenizer: LLVMIRTokenizer, count: int, length: int) -> list[str]:
    """Functions drawn under the grammar by bigrams; `generate` does the same with a model."""
    keep = GrammarLogitsProcessor([(tokenizer.domain, 0)], length, "llvm_ir", tokenizer.pad_token_id)
    ids = torch.full((count, 1), tokenizer.bos_token_id)
    while ids.shape[1] < length:
        logits = keep(ids, scores(ids[:, -1:])[:, -1])
        ids = torch.cat([ids, torch.multinomial(logits.softmax(-1), 1)], 1)
    return tokenizer.batch_decode(ids)


def generated(model, tokenizer: LLVMIRTokenizer, count: int, length: int) -> list[str]:
    """Functions drawn under the grammar."""
    keep = GrammarLogitsProcessor([(tokenizer.domain, 0)], length, "llvm_ir", tokenizer.pad_token_id)
    found = []
    for start in range(0, count, 50):
        prompt = torch.full((min(50, count - start), 1), tokenizer.bos_token_id, device=model.device)
        ids = model.eval().generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, temperature=0.6, top_k=0, max_length=length,
            logits_processor=LogitsProcessorList([keep]), eos_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        found += tokenizer.batch_decode(ids)
    return found


STYLE = (
    "body{font:14px sans-serif}table{border-collapse:collapse;table-layout:fixed;width:100%}"
    "th,td{border:1px solid #999;padding:6px;vertical-align:top;text-align:left}"
    "pre{margin:6px 0 0;font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere}"
)
COLOURS = {"verifies": "#dfd", "parses": "#ffd", "refused": "#fdd"}


def page(sets: dict[str, list[str]], most: int = 8) -> str:
    """Some functions of each set side by side: what LLVM says of them, their instructions, tokens and text."""
    plain = LLVMIRTokenizer()  # what was written may have no normal form
    columns = []
    for texts in sets.values():
        columns.append([])
        for text in list(dict.fromkeys(texts))[:most]:
            parses, verifies, count = judged(text)
            verdict = "verifies" if verifies else "parses" if parses else "refused"
            facts = [
                f"<b>{verdict}</b>",
                *([f"{count} instruction{'s' * (count != 1)}"] if parses else []),
                f"{len(plain(text).input_ids)} tokens",
            ]
            shown = html.escape(text if len(text) <= 900 else f"{text[:900]}\u2026")
            columns[-1].append(f'<td style="background:{COLOURS[verdict]}">{", ".join(facts)}<pre>{shown}</pre></td>')
    head = "".join(f"<th>{name}</th>" for name in sets)
    rows = ("".join(cells) for cells in zip_longest(*columns, fillvalue="<td></td>"))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    start = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Functions of LLVM IR</title><style>{STYLE}</style>'
    return f"{start}<p>Functions, and what LLVM says of them<table><tr>{head}</tr>{body}</table>\n"


def main() -> None:
    """Train, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument(
        "--toy", action="store_true", help="small functions made on the spot, 150 steps and 20 samples at most"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--length", type=int, default=320, help="tokens of a function at most; longer ones are left out"
    )
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--width", type=int, default=128, help="of the model")
    options = parser.parse_args()
    set_seed(0)
    if options.toy:
        options.folder, options.steps = toy(options.output / "toy"), min(options.steps, 150)
        options.samples, options.length = min(options.samples, 20), min(options.length, 96)
    elif options.folder is None:
        parser.error("give a folder of .ll or .bc files, or --toy")
    tokenizer = LLVMIRTokenizer(domain_settings={"mode": "normalised"})
    sets: dict[bool, dict[str, list[int]]] = {False: {}, True: {}}  # text and ids of learnt and held-out functions
    for number, name in enumerate(sorted({path.name for path in ir_files([options.folder])})):
        for path in (path for path in ir_files([options.folder]) if path.name == name):
            try:
                for text in functions(read_ir(path)):
                    if len(text) > 12 * options.length or text in sets[number % 4 == 3]:
                        continue
                    ids = tokenizer(text).input_ids
                    if len(ids) <= options.length and judged(text)[1]:
                        sets[number % 4 == 3][text] = ids
            except TextError as error:
                print(f"left out: {path}: {error}")
    learnt = list(sets[False].values())
    held = [ids for text, ids in sets[True].items() if text not in sets[False]]
    texts = [text for text in sets[True] if text not in sets[False]]
    instructions = sum(judged(text)[2] for text in texts)
    print(f"{len(learnt)} functions to learn ({sum(map(len, learnt)):,} tokens), {len(held)} held out, "
          f"with {instructions:,} instructions and {sum(map(len, held)):,} tokens")  # fmt: skip
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=options.width, intermediate_size=4 * options.width, num_hidden_layers=3,
        num_attention_heads=4, max_position_embeddings=options.length, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    untrained, model = LlamaForCausalLM(config), LlamaForCausalLM(config)
    arguments = TrainingArguments(
        str(options.output), max_steps=options.steps, per_device_train_batch_size=8, learning_rate=2e-3, warmup_steps=20,
        lr_scheduler_type="cosine", logging_steps=max(options.steps // 10, 1), report_to="none", save_strategy="no",
        disable_tqdm=True, train_sampling_strategy="group_by_length",
    )  # fmt: skip
    rows = Dataset.from_list([{"input_ids": ids} for ids in learnt])
    Trainer(model, arguments, data_collator=Collator(tokenizer, mlm=False), train_dataset=rows).train()
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)

    bigrams, size = Bigrams(learnt, len(tokenizer)), (options.samples, options.length)
    samples = {
        "trained": generated(model, tokenizer, *size),
        "bigrams": written(bigrams, tokenizer, *size),
        "untrained": generated(untrained, tokenizer, *size),
    }
    known = {tokenizer.decode(ids) for ids in learnt}
    for name, scores in (("trained", model), ("bigrams", bigrams), ("untrained", untrained)):
        cost = bits(scores if name == "bigrams" else lambda ids, m=scores: m(ids).logits, held) / max(instructions, 1)
        verdicts = [judged(text) for text in samples[name]]
        good = [text for text, verdict in zip(samples[name], verdicts, strict=True) if verdict[1] and verdict[2]]
        print(f"{name}: {cost:.1f} bits an instruction held out; of {len(verdicts)} samples {sum(v[0] for v in verdicts)} parse, "
              f"{len(good)} verify and have instructions, {sum(text not in known for text in good)} of them new")  # fmt: skip
        for number, text in enumerate(samples[name]):
            (options.output / f"{name}_{number:03}.ll").write_text(text, encoding="utf-8")
    (options.output / "table.html").write_text(page({"held out": texts, **samples}), encoding="utf-8")


if __name__ == "__main__":
    main()
