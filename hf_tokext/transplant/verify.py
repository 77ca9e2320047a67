"""Proofs that a finished checkpoint is what it claims to be, by reloading it as any user would."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import VerificationError
from hf_tokext.measure.causal import weight_of
from hf_tokext.transplant.auto_tokenizer import PROBES, first_difference
from hf_tokext.transplant.direction import DEFAULT_TEXTS, window_of
from hf_tokext.transplant.plan import Plan
from hf_tokext.vocabulary.pieces import TOKENIZER_FILE

QUIET_MASS = 1e-4


def verify_checkpoint(
    folder: str | Path,
    donor: str | Path,
    plan: Plan,
    *,
    tied: bool,
    texts: Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, Any]:
    """Reload a finished folder with the Auto classes and prove what it promises.

    Args:
        folder: the finished checkpoint.
        donor: folder with the donor's tokenizer.json.
        plan: the plan it was made by.
        tied: whether embedding and head are one matrix.
        texts: the user's text, added to the built-in corpus.
        dtype: what a bfloat16 model is run in, whose finite numbers are those of float32; None as stored.

    Returns:
        What was proved, in plain words.

    Raises:
        VerificationError: a proof failed.
    """
    folder = Path(folder)
    texts = [text for text in texts or () if text.strip()]
    markers = [plan.target.piece(index).decode() for index in sorted(plan.target.added)]
    corpus = [*PROBES, *texts, "".join(markers), " ".join(markers[:1_000])]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    proofs = {"tokenizer": _prove_tokenizer(tokenizer, Path(donor), corpus, plan.rows)}
    config = AutoConfig.from_pretrained(folder)
    model = getattr(transformers, (config.architectures or ["AutoModel"])[0]).from_pretrained(
        folder,
        use_safetensors=True,
        device_map="auto",
        dtype=dtype if dtype is not None and config.dtype == torch.bfloat16 else "auto",
    )
    return proofs | prove_model(model, tokenizer, plan, tied=tied, texts=texts)


def _prove_tokenizer(loaded: PreTrainedTokenizerBase, donor: Path, corpus: Sequence[str], rows: int) -> str:
    difference = first_difference(loaded, Tokenizer.from_file(str(donor / TOKENIZER_FILE)), corpus)
    if difference is not None:
        raise VerificationError(
            f"AutoTokenizer gives other ids than the donor's tokenizer.json from token {difference[0]} of "
            f"{difference[1][:40]!r}: it loaded {type(loaded).__name__}, which transformers builds by its own rules; "
            "the output was not kept, please report this"
        )
    highest = max(loaded.get_vocab().values())
    _require(highest < rows, f"AutoTokenizer gives ids up to {highest}, and there are {rows} rows")
    return f"AutoTokenizer ({type(loaded).__name__}) gives the donor's own ids on {len(corpus)} texts"


@torch.no_grad()
def prove_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    plan: Plan,
    *,
    tied: bool,
    texts: Sequence[str] | None,
) -> dict[str, Any]:
    """Prove sizes, ties, ids, finite logits, that quiet ids are quiet and that generation can stop.

    Args:
        model: the reloaded model.
        tokenizer: the reloaded tokenizer.
        plan: the plan it was made by.
        tied: whether embedding and head shall be one matrix.
        texts: the user's text, or None.

    Returns:
        What was proved, in plain words.

    Raises:
        VerificationError: a proof failed.
    """
    table = weight_of(model.get_input_embeddings())
    size = model.config.get_text_config().vocab_size
    _require(
        len(table) == size == plan.rows,
        f"the embedding has {len(table)} rows, config says {size}, the plan {plan.rows}",
    )
    head = model.get_output_embeddings()
    if head is not None:
        is_tied = weight_of(head).data_ptr() == table.data_ptr()
        _require(is_tied == tied, f"embedding and head are {'' if is_tied else 'not '}tied after reloading")
        _require(len(weight_of(head)) == plan.rows, f"the head has {len(weight_of(head))} rows, not {plan.rows}")
    for part in (model.config, *([model.generation_config] if model.can_generate() else [])):
        for name, value in vars(part).items():
            if name in ("bos_token_id", "eos_token_id", "pad_token_id") and value is not None:
                for index in value if isinstance(value, list) else [value]:
                    _require(0 <= index < plan.rows, f"{name} is {index}, outside the {plan.rows} rows")
    proofs: dict[str, Any] = {"sizes": f"{plan.rows:,} rows, {'tied' if tied else 'not tied'}, all token ids in range"}
    if head is None:
        return proofs
    mass, positions = 0.0, 0
    for text in (texts or DEFAULT_TEXTS)[:4]:
        ids = torch.tensor([tokenizer(text[:4_000])["input_ids"][: window_of(model)]], device=table.device)
        extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
        logits = model(input_ids=ids, **extra).logits[0].float()
        _require(bool(logits.isfinite().all()), "the model gives logits that are not finite")
        mass += float(logits.softmax(-1)[:, plan.quiet].sum())
        positions += len(logits)
    mass /= max(positions, 1)
    proofs["logits"] = f"finite at {positions} positions"
    proofs["quiet ids"] = f"{len(plan.quiet):,} ids hold {mass:.1e} of the probability"
    if model.can_generate():
        ends = model.generation_config.eos_token_id
        known = "eos_token" in plan.target.named
        _require(ends is not None or not known, "no end-of-sequence id is left, so generation would not stop")
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        _require(not set(ends) & set(plan.quiet), "an end-of-sequence id is suppressed")
        proofs["end of sequence"] = f"ids {ends} stop generation"
    proofs["quiet mass"] = mass
    return proofs


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise VerificationError(f"{what}; the output was not kept, please report this")
