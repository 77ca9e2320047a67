"""Print the figures of docs/molecule.md.

How ids of atoms depend on the conformer, that motions change none, round trips of NCI molecules, and what random language
models write under the grammars.

python scripts/repro_molecule.py [--conformers 60] [--motions 5] [--molecules 4999] [--sequences 10000]

0 leaves a part away. Ends with 1 where an id changes with a motion, or where a sequence is malformed.
"""

import argparse
from pathlib import Path

import numpy as np
import rdkit
import torch
from bench_e3fp import wheel_molecules
from rdkit import Chem, RDLogger
from transformers import LlamaConfig, LlamaForCausalLM

from hf_tokext.errors import TextError
from hf_tokext.models.molecule.conformers import generate_conformer
from hf_tokext.models.molecule.domain import MoleculeDomain
from hf_tokext.models.molecule.e3fp import E3FP
from hf_tokext.vocabulary.grammar_processor import GrammarLogitsProcessor

DATA = Path(rdkit.__file__).parent / "Data/NCI/first_5K.smi"


def round_trips(smiles: list[str]) -> None:
    """Print how many molecules come back, and list those that do not."""
    for notation in ("selfies", "smiles"):
        domain, exact, failures = MoleculeDomain(notation), 0, []
        for each in smiles:
            try:
                text = domain.from_smiles(each)
                written = domain.write(domain.parse(text))
                exact += written == text
                one, other = Chem.MolFromSmiles(each), Chem.MolFromSmiles(domain.to_smiles(written))
                if one is None or other is None or Chem.MolToSmiles(one) != Chem.MolToSmiles(other):
                    failures.append((each, "RDKit does not read it" if one is None else "another molecule"))
            except TextError as error:
                failures.append((each, str(error)[-80:]))
        print(f"{notation}: {len(smiles)} molecules, text exact {exact}, same molecule {len(smiles) - len(failures)}")
        for each, reason in failures:
            print(f"  {each}: {reason}")


def sensitivity(smiles: list[str]) -> None:
    """Print the share of equal ids by level: two conformers, and noise on the coordinates."""
    settings, random = E3FP(), np.random.default_rng(0)
    counts: dict[str, np.ndarray] = {}
    for each in smiles:
        try:
            molecule = Chem.MolFromSmiles(each)
            first, second = (generate_conformer(molecule, seed) for seed in (1, 2))
        except TextError:
            continue
        ids = settings.ids(first)
        others = {"another conformer": second}
        for noise in (0.01, 0.05, 0.1):
            others[f"noise {noise} A"] = moved = Chem.Mol(first)
            places = first.GetConformer().GetPositions()
            moved.GetConformer().SetPositions(places + random.normal(scale=noise, size=places.shape))
        for name, other in others.items():
            there, same = (ids >= 0).sum(0), ((ids == settings.ids(other)) & (ids >= 0)).sum(0)
            counts[name] = counts.get(name, 0) + np.stack([same, there])
    print("share of equal ids | level 0 | level 1 | level 2 | level 3")
    for name, (same, there) in counts.items():
        print(name, *(f"{share:.1%}" for share in same / there), sep=" | ")


def motions(count: int) -> bool:
    """Turn, move and reorder the molecules of the rdkit wheel that have coordinates; prints how many ids change."""
    random, changed, total, mirrored, alike = np.random.default_rng(0), 0, 0, 0, []
    molecules = list(wheel_molecules())
    for number, molecule in enumerate(molecules):
        ids, places = E3FP().ids(molecule), molecule.GetConformer().GetPositions()
        for _ in range(count):
            order = random.permutation(len(ids)).tolist()
            turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
            moved = Chem.Mol(molecule)
            moved.GetConformer().SetPositions(places @ turn * np.linalg.det(turn) + random.normal(scale=10, size=3))
            found = E3FP().ids(Chem.RenumberAtoms(moved, order))
            changed, total = changed + (found != ids[order]).sum(), total + found.size
        mirror = Chem.Mol(molecule)
        mirror.GetConformer().SetPositions(places * [-1, 1, 1])
        other = not np.array_equal(E3FP().ids(mirror), ids)
        mirrored += other
        if not other:
            flatness = np.linalg.svd(places - places.mean(0), compute_uv=False)[2] / np.sqrt(len(places))
            alike.append(f"{number} ({flatness:.2f} A)")
    print(f"{len(molecules)} molecules, {count} motions and orders each: {changed} of {total} ids change")
    print(f"mirror image: ids of {mirrored} change; those of the others, with their thickness: {', '.join(alike)}")
    return not changed


def random_texts(notation: str, count: int) -> bool:
    """Let random language models write under a grammar: drawn, greedily, by beams; prints what is malformed."""
    domain, longest, malformed, whole, checked = MoleculeDomain(notation), 40, 0, 0, 0
    start = domain.grammar.advance(domain.grammar.start(), 0)
    first = np.flatnonzero(domain.grammar.allowed(start))
    kinds = {
        "drawn": (60, {"do_sample": True}),
        "greedy": (8, {}),
        "beams": (8, {"num_beams": 4, "num_return_sequences": 4}),
    }
    counts = dict.fromkeys(kinds, 0)
    for seed in range(-(-count // 100)):
        torch.manual_seed(seed)
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        size, ids = len(domain.tokens) + 1, {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": len(domain.tokens)}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=size, initializer_range=0.5, **shape, **ids)).eval()
        for kind, (rows, options) in kinds.items():
            second = torch.from_numpy(np.random.default_rng(seed).choice(first, rows))
            prompts = torch.stack([torch.zeros_like(second), second], 1)
            grammar = GrammarLogitsProcessor([(domain, 0)], longest, domain.name, 1)
            written = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_length=longest,
                logits_processor=[grammar],
                **options,
            )
            for row in written.tolist():
                row = row[: row.index(1) + 1] if 1 in row else row
                text = domain.write(row)
                sound = domain.grammar.complete(domain.grammar.read(row)) and domain.write(domain.parse(text)) == text
                read = Chem.MolFromSmiles(domain.to_smiles(text), sanitize=notation == "selfies")
                if not sound or read is None or not read.GetNumAtoms():
                    malformed += 1
                    print(f"  malformed: {text}")
                whole += domain.parse(text) == row
                checked += notation == "smiles" and Chem.MolFromSmiles(text) is not None
                counts[kind] += 1
    print(
        f"{notation}: {counts} sequences of random models, {malformed} malformed; {whole} written with nothing left out"
    )
    if notation == "smiles":
        print(f"  of these RDKit sanitises {checked}: their form is promised, not their chemistry")
    return not malformed


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conformers", type=int, default=60)
    parser.add_argument("--motions", type=int, default=5)
    parser.add_argument("--molecules", type=int, default=4999)
    parser.add_argument("--sequences", type=int, default=10_000)
    chosen = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    smiles = [line.split()[0] for line in DATA.read_text().splitlines() if line.strip()]
    sound = True
    if chosen.conformers:
        sensitivity([each for each in smiles if Chem.MolFromSmiles(each) is not None][: chosen.conformers])
    if chosen.motions:
        sound &= motions(chosen.motions)
    if chosen.molecules:
        round_trips(smiles[: chosen.molecules])
    if chosen.sequences:
        for notation in ("selfies", "smiles"):
            sound &= random_texts(notation, chosen.sequences)
    raise SystemExit(not sound)


if __name__ == "__main__":
    main()
