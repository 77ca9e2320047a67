"""Train a small Llama on SELFIES of NCI molecules, and draw what it writes beside a bigram model and an untrained one.

python scripts/examples/molecule/train_selfies.py OUT [--steps 400] [--samples 200]

A tenth of the molecules is held out by Bemis-Murcko scaffold: none of theirs is seen in training. All three models write
under the grammar of the tokenizer.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rdkit
import torch
from rdkit import Chem, RDLogger
from rdkit.Chem import Draw
from rdkit.Chem.QED import qed
from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles
from transformers import DataCollatorForLanguageModeling, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from hf_tokext import MoleculeTokenizer
from hf_tokext.errors import TextError
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor

DATA = Path(rdkit.__file__).parent / "Data/NCI/first_5K.smi"
LONGEST = 64  # tokens of a molecule


def nci_molecules(tokenizer: MoleculeTokenizer) -> dict[str, list[int]]:
    """Ids by canonical SMILES, of molecules of one fragment that are short enough."""
    found = {}
    for line in DATA.read_text().splitlines():
        molecule = Chem.MolFromSmiles(line.split()[0]) if line.strip() else None
        if molecule is not None and molecule.GetNumAtoms() > 2 and len(Chem.GetMolFrags(molecule)) == 1:
            smiles = Chem.MolToSmiles(molecule)
            try:
                ids = tokenizer(tokenizer.domain.from_smiles(smiles)).input_ids
            except TextError:
                continue
            if len(ids) <= LONGEST:
                found[smiles] = ids
    return found


def scaffold_split(smiles: list[str]) -> tuple[list[str], list[str]]:
    """Hold a tenth out, whole scaffolds at a time; molecules without rings have the scaffold "" and are trained on."""
    groups: dict[str, list[str]] = {}
    for each in smiles:
        groups.setdefault(MurckoScaffoldSmiles(each), []).append(each)
    names = sorted(set(groups) - {""})
    held: list[str] = []
    for at in np.random.default_rng(0).permutation(len(names)).tolist():
        if len(held) + len(groups[names[at]]) <= len(smiles) / 10:
            held += groups.pop(names[at])
    return [each for group in groups.values() for each in group], held


def bigrams(rows: list[list[int]], size: int) -> torch.Tensor:
    """Log probabilities of the next token by the last, [V, V]."""
    counts = torch.full((size, size), 0.01)
    for row in rows:
        for pair in zip(row, row[1:], strict=False):
            counts[pair] += 1
    return (counts / counts.sum(1, keepdim=True)).log()


def bits(step: Callable[[torch.Tensor], torch.Tensor], rows: list[list[int]]) -> float:
    """Bits per token of rows under a model, without the grammar."""
    total = count = 0.0
    for row in rows:
        ids = torch.tensor([row])
        logs = step(ids[:, :-1]).log_softmax(-1)
        total -= logs.gather(2, ids[:, 1:, None]).sum().item()
        count += len(row) - 1
    return total / count / np.log(2)


def write(step: Callable[[torch.Tensor], torch.Tensor], tokenizer: MoleculeTokenizer, count: int) -> list[list[int]]:
    """Draw molecules under the grammar."""
    torch.manual_seed(0)
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    grammar = GrammarLogitsProcessor([(tokenizer.domain, 0)], LONGEST, tokenizer.domain.name, end)
    ids = torch.full((count, 1), start)
    while ids.shape[1] < LONGEST and not (ids == end).any(1).all():
        scores = grammar(ids, step(ids)[:, -1])  # type: ignore[arg-type]
        ids = torch.cat([ids, torch.multinomial(scores.softmax(-1), 1)], dim=1)
    return [row[: row.index(end) + 1] for row in ids.tolist()]


def report(name: str, rows: list[list[int]], tokenizer: MoleculeTokenizer, known: set[str], loss: float) -> list[str]:
    """Print one row of the table; gives the SMILES that RDKit reads."""
    texts = [tokenizer.domain.write(row) for row in rows]
    whole = [tokenizer(text).input_ids == row for text, row in zip(texts, rows, strict=True)]
    read = [Chem.MolFromSmiles(tokenizer.domain.to_smiles(text)) for text in texts]
    found = [Chem.MolToSmiles(each) for each in read if each is not None]
    unique = set(found)
    drawn = [Chem.MolFromSmiles(each) for each in unique]
    shares = len(found) / len(rows), np.mean(whole), len(unique) / len(found), len(unique - known) / len(unique)
    atoms, merit = np.mean([each.GetNumHeavyAtoms() for each in drawn]), np.mean([qed(each) for each in drawn])
    print(f"{name} | {loss:.2f} | " + " | ".join(f"{each:.1%}" for each in shares) + f" | {atoms:.1f} | {merit:.2f}")
    return found


def main() -> None:
    """Train, sample, print the table and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--samples", type=int, default=200)
    chosen = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    torch.manual_seed(0)
    tokenizer = MoleculeTokenizer()
    molecules = nci_molecules(tokenizer)
    train, held = scaffold_split(list(molecules))
    size = len(tokenizer)
    ids = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": 0, "eos_token_id": tokenizer.eos_token_id}
    shape = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=size, max_position_embeddings=LONGEST, **shape, **ids))
    tested, pairs = [molecules[each] for each in held], bigrams([molecules[each] for each in train], size)
    print(
        f"{len(train)} molecules to train on, {len(held)} held out by scaffold; {model.num_parameters():,} parameters"
    )

    @torch.no_grad()
    def llama(ids: torch.Tensor) -> torch.Tensor:
        return model(ids, use_cache=False).logits

    models = {"untrained": llama, "bigrams": lambda ids: pairs[ids], "trained": llama}
    print("model | bits a token, held out | valid | as written | unique | novel | heavy atoms | QED")
    known, drawn = set(train), []
    for name, step in models.items():
        if name == "trained":
            arguments = TrainingArguments(
                output_dir=str(chosen.out / "checkpoints"),
                max_steps=chosen.steps,
                per_device_train_batch_size=32,
                learning_rate=2e-3,
                lr_scheduler_type="cosine",
                warmup_steps=50,
                logging_steps=max(1, chosen.steps // 4),
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=True,
                seed=0,
            )
            data = [{"input_ids": molecules[each]} for each in train]
            Trainer(model, arguments, DataCollatorForLanguageModeling(tokenizer, mlm=False), data).train()
        model.eval()
        found = report(name, write(step, tokenizer, chosen.samples), tokenizer, known, bits(step, tested))
        drawn += found[:6]
    model.save_pretrained(chosen.out)
    tokenizer.save_pretrained(chosen.out)
    picture = Draw.MolsToGridImage(
        [Chem.MolFromSmiles(each) for each in drawn],
        molsPerRow=6,
        subImgSize=(250, 200),
        legends=[name for name in models for _ in range(6)],
    )
    picture.save(chosen.out / "samples.png")
    print(f"drawn: {chosen.out / 'samples.png'}")


if __name__ == "__main__":
    main()
