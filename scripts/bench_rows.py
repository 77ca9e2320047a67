"""How well rows of new tokens can be guessed: known words are hidden, and their rows made from all others.

    python scripts/bench_rows.py                          # SmolLM2-135M and Gemma-3-270M, 200 words, 3 draws

Words are single tokens that begin with a space, whose first sense WordNet (Debian's wordnet-base) explains. Their rows are
made by each method, without any of the hidden rows. A row counts as found if the true one is among the 10 of the whole
table that have the largest cosine with it, all rows taken as differences from the mean row; and the rank of the true one
is given. `compose` is the plain mean of the rows of the pieces, `normal` is what transformers does for added tokens (a draw around the mean row), `mean` the mean row. The word
vectors of `neighbours` are learnt from the explanations of other words.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from debian import debian
from samples import sample
from torch.nn.functional import normalize
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_tokext.extend import init_rows

TOP = 10


def glosses() -> dict[str, str]:
    """What each word of one part means, the first sense of its first part of speech."""
    found: dict[str, str] = {}
    for kind in ("noun", "verb", "adj", "adv"):
        text = (debian("wordnet-base") / "usr/share/wordnet" / f"data.{kind}").read_text(encoding="latin-1")
        by_offset = {line[:8]: line for line in text.splitlines() if line[:1].isdigit()}
        index = (debian("wordnet-base") / "usr/share/wordnet" / f"index.{kind}").read_text(encoding="latin-1")
        for line in index.splitlines():
            parts = line.split()
            if not line.startswith(" ") and re.fullmatch("[a-z]{3,}", parts[0]) and parts[0] not in found:
                first = parts[-int(parts[2])]
                found[parts[0]] = re.sub(r'; ".*', "", by_offset[first].split("| ", 1)[1]).strip()
    return found


def hidden_words(tokenizer, known: dict[str, str], count: int, seed: int) -> dict[int, str]:
    """Ids of words that are one token behind a space."""
    ids = {}
    for word in sorted(known):
        encoded = tokenizer(" " + word, add_special_tokens=False).input_ids
        if len(encoded) == 1:
            ids[encoded[0]] = word
    drawn = np.random.default_rng(seed).choice(sorted(ids), count, replace=False).tolist()
    return {index: ids[index] for index in drawn}


def ranks(made: torch.Tensor, table: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Rank of each true row among all rows, 1 for the nearest; [words]."""
    mean = table.mean(0)
    cosines = normalize(made - mean, dim=1) @ normalize(table - mean, dim=1).T
    true = cosines[torch.arange(len(ids)), ids]
    return (cosines > true[:, None]).sum(1) + 1


def main() -> None:
    """Measure every method on every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["smollm2-135m", "gemma3-270m"], help="names of samples")
    parser.add_argument(
        "--method", nargs="+", default=["both", "description", "pieces", "compose", "neighbours", "mean", "normal"]
    )
    parser.add_argument("--words", type=int, default=200)
    parser.add_argument(
        "--seeds", type=int, default=3, help="draws of hidden words, after the one that was used to choose"
    )
    parser.add_argument("--results", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    known, results = glosses(), []
    for name in options.model:
        folder = sample(name)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        table = model.get_input_embeddings().weight.detach().clone()
        print(f"\n{name}: {options.words} hidden words of {len(table):,} rows, {options.seeds} draws")
        print(f"  {'':14} {'recall@10, %':>22} {'median rank':>22}")
        for method in options.method:
            recalls, medians = [], []
            for seed in range(1, options.seeds + 1):
                words = hidden_words(tokenizer, known, options.words, seed)
                ids = list(words)
                tokens = tokenizer.convert_ids_to_tokens(ids)
                described = {token: " " + known[word] for token, word in zip(tokens, words.values(), strict=True)}
                # all glosses, in which the hidden words stand as the pieces that are left: no row of theirs is used
                texts = [f" {word}: {text}" for word, text in known.items()] if method == "neighbours" else None
                init_rows(
                    model, tokenizer, ids, method, descriptions=described, texts=texts, calibrate=False, seed=seed
                )
                weight = model.get_input_embeddings().weight
                found = ranks(weight.detach()[ids], table, ids).float()
                recalls.append(float((found <= TOP).float().mean()) * 100)
                medians.append(float(found.median()))
                weight.data[ids] = table[ids]
            told = [f"{np.mean(each):.1f} ({min(each):.1f} to {max(each):.1f})" for each in (recalls, medians)]
            print(f"  {method:14} {told[0]:>22} {told[1]:>22}", flush=True)
            results.append({"model": name, "method": method, "recall@10": recalls, "median rank": medians})
    if options.results:
        options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
