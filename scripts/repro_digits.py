"""Addition under three digit schemes, after "Tokenization counts" (Singh and Strouse, arXiv 2402.14903).

    python scripts/repro_digits.py                          # 5 seeds of each scheme; resumable
    python scripts/repro_digits.py --seeds 1 --steps 300    # a look
    python scripts/repro_digits.py --device cuda

The paper asks trained models (GPT-3.5, GPT-4) for sums of 7 to 9 digits and cuts their numbers by commas; this trains
small decoders from nothing on sums of 1 to 6 digits, so it tests the idea, not the paper's figures. Each scheme has the
same model (all 1,110 groups have rows, whether the scheme uses them or not), the same problems in the same order and the
same number of steps; a step therefore costs more tokens where numbers are cut into more. Held out: 2,000 problems
(--held-out), the same for all, in neither order among those trained on. An answer counts if it is right to the last
digit. Beside it, two baselines that do not add: the most common answer, and a copy of the larger addend. Figures are kept
in --results and not computed twice.
"""

import argparse
import json
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, get_cosine_schedule_with_warmup

from hf_tokext import rewrite_digits

SCHEMES = ("single", "left3", "right3")
PAD, END = 0, 1
LONGEST, BATCH, HELD_OUT = 6, 64, 2_000
GROUPS = ("all", "as long", "longer")
Problem = tuple[int, int]


def tokenizer(scheme: str) -> Tokenizer:
    """Digits, + and =; the same ids for every scheme."""
    letters = ["<pad>", "<end>", *"+=0123456789"]
    core = Tokenizer(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    core.decoder = decoders.Fuse()
    return rewrite_digits(rewrite_digits(core, "right3"), scheme)


def problems(chance: random.Random) -> Iterator[Problem]:
    """Pairs of addends without end; each has 1 to 6 digits, all lengths equally often."""
    while True:
        lengths = chance.randint(1, LONGEST), chance.randint(1, LONGEST)
        first, second = (chance.randrange(10 ** (n - 1) if n > 1 else 0, 10**n) for n in lengths)
        yield first, second


def held_out(count: int) -> list[Problem]:
    """The problems that no run is trained on."""
    found: dict[Problem, None] = {}
    for first, second in problems(random.Random("held out")):
        if (second, first) not in found:
            found[first, second] = None
        if len(found) == count:
            return list(found)
    raise AssertionError("problems have no end")


def training(seed: int, held: list[Problem]) -> Iterator[Problem]:
    """Problems to train on, the same for every scheme."""
    apart = {pair for first, second in held for pair in ((first, second), (second, first))}
    return (pair for pair in problems(random.Random(f"training {seed}")) if pair not in apart)


def batch(core: Tokenizer, pairs: list[Problem], device: str) -> tuple[Tensor, Tensor]:
    """Ids and labels, `[problems, longest]`; what comes before the answer is not learnt."""
    asked = core.encode_batch([f"{a}+{b}=" for a, b in pairs])
    answered = core.encode_batch([str(a + b) for a, b in pairs])
    rows = [(question.ids, [*answer.ids, END]) for question, answer in zip(asked, answered, strict=True)]
    longest = max(len(question) + len(answer) for question, answer in rows)
    ids = torch.full((len(rows), longest), PAD)
    labels = torch.full((len(rows), longest), -100)
    for row, (question, answer) in enumerate(rows):
        ids[row, : len(question) + len(answer)] = torch.tensor(question + answer)
        labels[row, len(question) : len(question) + len(answer)] = torch.tensor(answer)
    return ids.to(device), labels.to(device)


def model(rows: int, seed: int, device: str) -> LlamaForCausalLM:
    """A decoder of 0.7 million parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=rows, hidden_size=128, intermediate_size=320, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=64, tie_word_embeddings=True, pad_token_id=PAD, bos_token_id=None, eos_token_id=END,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(device)


def answers(net: LlamaForCausalLM, core: Tokenizer, pairs: list[Problem]) -> dict[Problem, str]:
    """What the model says, greedily; problems of equal length go together, so nothing is padded."""
    together = defaultdict(list)
    for pair in pairs:
        ids = core.encode(f"{pair[0]}+{pair[1]}=").ids
        together[len(ids)].append((pair, ids))
    found = {}
    for length, members in together.items():
        ids = torch.tensor([ids for _, ids in members], device=net.device)
        made = net.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LONGEST + 2, do_sample=False, pad_token_id=PAD
        )
        for (pair, _), row in zip(members, made[:, length:].tolist(), strict=True):
            found[pair] = core.decode(row[: row.index(END)] if END in row else row, skip_special_tokens=False)
    return found


def kind(pair: Problem) -> str:
    """Whether the answer has as many digits as the longer addend, or more."""
    return "as long" if len(str(sum(pair))) == len(str(max(pair))) else "longer"


def scored(said: dict[Problem, str]) -> dict[str, float]:
    """Share of exact answers: all, and by kind."""
    right: dict[str, list[bool]] = {group: [] for group in GROUPS}
    for pair, text in said.items():
        for group in ("all", kind(pair)):
            right[group].append(text == str(sum(pair)))
    return {group: sum(each) / len(each) for group, each in right.items()}


def result(scheme: str, seed: int, steps: int, device: str, held: list[Problem]) -> dict[str, float]:
    """Train one model and ask it the held-out problems."""
    started, core, stream = time.time(), tokenizer(scheme), training(seed, held)
    net = model(core.get_vocab_size(), seed, device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    net.train()
    seen = 0
    for step in range(1, steps + 1):
        ids, labels = batch(core, [next(stream) for _ in range(BATCH)], device)
        loss = net(input_ids=ids, labels=labels).loss  # padding comes last, where causal attention never looks
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seen += int((ids != PAD).sum())
        if step % 500 == 0:
            print(f"    {scheme} seed {seed} step {step}: loss {loss.item():.3f}", flush=True)
    net.eval()
    figures = scored(answers(net, core, held))
    return figures | {"tokens a problem": seen / steps / BATCH, "seconds": time.time() - started}


def baselines(held: list[Problem]) -> dict[str, dict[str, float]]:
    """What can be had without adding."""
    stream = training(0, held)
    ((common, _),) = Counter(sum(next(stream)) for _ in range(100_000)).most_common(1)
    return {
        "most common answer": scored({pair: str(common) for pair in held}),
        "copy larger addend": scored({pair: str(max(pair)) for pair in held}),
    }


def show(name: str, runs: list[dict[str, float]]) -> None:
    """Print one line of the table: mean, standard deviation, least and most over the seeds, in percent."""
    cells = []
    for group in GROUPS:
        values = [100 * run[group] for run in runs]
        spread = f" +- {statistics.stdev(values):4.1f} ({min(values):.1f} to {max(values):.1f})" if runs[1:] else ""
        cells.append(f"{statistics.mean(values):5.1f}{spread}".ljust(30))
    print(f"{name:20} {len(runs):5}  " + "".join(cells), flush=True)


def main() -> None:
    """Run what has no figure yet, seed by seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="problems to ask")
    parser.add_argument("--device", default="cpu", help="what torch calls it")
    parser.add_argument("--results", type=Path, default=Path("repro_digits.json"))
    options = parser.parse_args()
    known = json.loads(options.results.read_text()) if options.results.exists() else {}
    held = held_out(options.held_out)
    asked = "" if len(held) == HELD_OUT else f" | {len(held)} held out"
    runs = defaultdict(list)
    for seed in range(options.seeds):
        for scheme in SCHEMES:
            key = f"{scheme} | seed {seed} | {options.steps} steps{asked}"
            if key not in known:
                known[key] = result(scheme, seed, options.steps, options.device, held)
                options.results.write_text(json.dumps(known, indent=1))
            runs[scheme].append(known[key])
            print(f"{key}: {100 * known[key]['all']:.1f} % right, {known[key]['seconds']:.0f} s", flush=True)
    counts = Counter(kind(pair) for pair in held)
    size = sum(parameter.numel() for parameter in model(tokenizer("single").get_vocab_size(), 0, "cpu").parameters())
    print(f"\n{options.steps} steps of {BATCH} problems, {size:,} parameters; {len(held)} held-out problems, of which")
    print(
        f"{counts['as long']} have answers as long as the longer addend and {counts['longer']} longer. Percent exact:\n"
    )
    print(f"{'':20} seeds  " + "".join(group.ljust(30) for group in GROUPS))
    for name, figures in baselines(held).items():
        show(name, [figures])
    for scheme in SCHEMES:
        show(scheme, runs[scheme])
    print()
    for scheme in SCHEMES:
        print(f"{scheme}: {statistics.mean(run['tokens a problem'] for run in runs[scheme]):.1f} tokens a problem")


if __name__ == "__main__":
    main()
