"""Putting codecs on a language model: their codes come beside its own vocabulary, with rows made of their vectors."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import UnsupportedModelError, VocabularyError
from hf_tokext.extend.spellings import describing_ids
from hf_tokext.extend.tokens import add_texts
from hf_tokext.measure.causal import weight_of
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.models.multimodal.modeling_multimodal import MultimodalForCausalLM
from hf_tokext.models.multimodal.processing_multimodal import MultimodalProcessor
from hf_tokext.transplant.direction import head_direction
from hf_tokext.transplant.tables import MADE_SHIFT
from hf_tokext.vocabulary.code_space import CodeSpace, marker_texts
from hf_tokext.vocabulary.spaces import Spaces

USUAL_NAMES = {"image": "image", "audio": "audio", "speech": "audio", "depth": "depth"}  # and what their codecs code
OPTIONS = ("layout", "input", "projector_size", "flow_layers")
DESCRIPTIONS = ("beginning of {}", "end of {}", "{}")  # of the markers


@torch.no_grad()
def extend_with_codecs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    codecs: Mapping[str, tuple[ModalityCodec, Any]],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    texts: list[str] | None = None,
    calibrate: bool = True,
    seed: int = 0,
) -> tuple[MultimodalForCausalLM, MultimodalProcessor]:
    """Teach a causal LM the codes of codecs.

    Rows of old ids stay as they are, bit by bit. The row of a code is the mean row plus the code's vector, turned at random
    into the space of the rows and made as long as rows are around their mean, so that codes are as far from each other as
    their vectors. The new rows are a start: the model is to be trained.

    Args:
        model: a causal LM; changed in place once everything is computed, and a part of what is returned.
        tokenizer: its tokenizer; it is not changed.
        codecs: by a name for each modality, such as "image", the codec and its image processor or feature extractor.
        options: by the same names, `layout` ("interleave", "flat", "delay"), `input` ("ids"; "codebook"; a continuous codec
            has "latent"), `projector_size` and `flow_layers`; see `CodeSpace` and `MultimodalConfig`.
        texts: your own text, for calibration.
        calibrate: lower the logits of the new ids, so that text is hardly less probable than before; it runs the model once
            over a few thousand tokens.
        seed: of everything random.

    Returns:
        The model with its codecs, and the processor.

    Raises:
        VocabularyError: nothing is named, a modality is there already, a name or an option is impossible or the name of
            another kind of codec, or the tokenizer's ids have gaps.
        UnsupportedModelError: the model is no causal LM, or parts of it lie on disk.
    """
    options = options or {}
    _check(model, tokenizer, codecs, options)
    new, spaces = _with_markers(model, tokenizer, codecs, options)
    direction = head_direction(model, tokenizer, texts) if calibrate else None
    tables = [weight_of(model.get_input_embeddings()), weight_of(model.get_output_embeddings())]
    rows = max(len(tables[0]), *(int(space.grammar_ids.max()) + 1 for space in spaces.values()))
    tied = tables[0] is tables[1]
    known = [index for index in set(tokenizer.get_vocab().values()) if index < len(tables[0])]
    shares = {name: _shares(codec) for name, (codec, _) in codecs.items() if not codec.is_continuous}
    made = [_made(table, known, tokenizer, shares, spaces, seed) for table in tables[: 1 if tied else 2]]
    processor = MultimodalProcessor(new, {name: extractor for name, (_, extractor) in codecs.items()})
    senses = {
        name: {
            "space": Spaces([space]).to_json()[0],
            "input": "latent" if space.is_continuous else "ids",
            "dim": codecs[name][0].quantizer.dim if space.is_continuous else shares[name].shape[1],
            **{key: value for key, value in options.get(name, {}).items() if key != "layout"},
        }
        for name, space in spaces.items()
    }
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:  # nothing above changed the model, and nothing below it can fail
        whole = MultimodalForCausalLM.from_parts(model, senses, {name: codec for name, (codec, _) in codecs.items()})
    except StrictDataclassError as error:
        raise VocabularyError(str(error.__cause__ or error)) from error
    finally:
        torch.set_rng_state(generator_state)
    if rows > len(tables[0]):
        whole.resize_token_embeddings(rows, mean_resizing=False)
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    for head, (ids, values) in zip(heads, made, strict=False):
        lowered = direction is not None and (tied or head is heads[1])
        head.weight[ids] = (values + MADE_SHIFT * direction if lowered else values).to(head.weight)  # type: ignore[operator]
    bias = getattr(heads[1], "bias", None)
    if bias is not None:
        bias[made[0][0]] = bias[known].mean() + (MADE_SHIFT if calibrate else 0)
    # embeddings, not rows: some models, such as Gemma, scale them
    usual = heads[0](torch.tensor(known, device=heads[0].weight.device)).float()
    chance = torch.Generator().manual_seed(seed)
    for name, sense in whole._senses.items():
        if sense.by_vectors:
            vectors = shares[name] if name in shares else torch.randn(1024, senses[name]["dim"], generator=chance)
            sense.projector.fit(vectors.to(heads[0].weight.device), usual.mean(0), _spread(usual))
    return whole, processor


def _check(model: Any, tokenizer: Any, codecs: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    if not codecs:
        raise VocabularyError("no modality is named; give one or more, such as image, with a codec")
    if isinstance(model, MultimodalForCausalLM) or Spaces.read(tokenizer).codes:
        raise VocabularyError("the model has modalities already; extend its base by all of them at once")
    if model.config.is_encoder_decoder or model.get_output_embeddings() is None:
        raise UnsupportedModelError(f"{type(model).__name__} is no causal language model; use AutoModelForCausalLM")
    if any(parameter.device.type == "meta" for parameter in model.parameters()):
        raise UnsupportedModelError("parts of the model lie on disk (device_map); load it into memory")
    unknown = sorted(set(options) - set(codecs)) or sorted(
        {key for each in options.values() for key in each} - set(OPTIONS)
    )
    if unknown:
        raise VocabularyError(
            f"{unknown[0]!r} is neither a modality that is named nor an option ({', '.join(OPTIONS)})"
        )
    for name, (codec, _) in codecs.items():
        if not name.isidentifier():
            raise VocabularyError(f"a modality cannot be called {name!r}; take a plain word such as image")
        if USUAL_NAMES.get(name, codec.modality) != codec.modality:
            raise VocabularyError(
                f"the codec given for {name!r} is one of {codec.modality}; name the modality after it"
            )
        known = ("latent",) if codec.is_continuous else ("ids", "codebook")
        given = options.get(name, {}).get("input", known[0])
        if given not in known:
            what = "is continuous, and has latents, not codes" if codec.is_continuous else "has codes, not latents"
            raise VocabularyError(f"the codec of {name!r} {what}: input is {' or '.join(known)}, not {given!r}")


def _with_markers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, codecs: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[PreTrainedTokenizerBase, dict[str, CodeSpace]]:
    """A tokenizer that has all markers, and keeps the spaces; their codes come after all that has a text."""
    found = copy.deepcopy(tokenizer)
    texts = [text for name in codecs for text in marker_texts(name)]
    ids = add_texts(found, texts, "; choose another name for the modality")
    base = max(len(weight_of(model.get_input_embeddings())), max(ids) + 1)
    spaces = {}
    for number, (name, (codec, _)) in enumerate(codecs.items()):
        start, end, placeholder = ids[3 * number : 3 * number + 3]
        books = tuple(codec.codebook_sizes)
        spaces[name] = CodeSpace(
            name, base if books else placeholder, sum(books) or 1, {}, books,
            options.get(name, {}).get("layout", "interleave"), codec.steps, start, end, placeholder, codec.hop, codec.modality,
        )  # fmt: skip
        base += sum(books)
    Spaces([*Spaces.read(tokenizer).values(), *spaces.values()]).write(found)
    return found, spaces


def _made(
    table: Tensor,
    known: list[int],
    tokenizer: Any,
    shares: Mapping[str, Tensor],
    spaces: Mapping[str, CodeSpace],
    seed: int,
) -> tuple[list[int], Tensor]:
    """Ids of markers and codes, and their rows."""
    usual = table[known].float()
    mean, spread = usual.mean(0), _spread(usual)
    ids, rows = [], []
    for name, space in spaces.items():
        words = describing_ids(tokenizer, [text.format(name.replace("_", " ")) for text in DESCRIPTIONS])
        for marker, described in zip(space.markers, words, strict=True):
            ids.append(marker)
            rows.append(table[list(described)].float().mean(0)[None] if described else mean[None])
        if not space.is_continuous:
            ids += range(space.base, space.base + space.size)
            vectors = shares[name].to(table.device)
            chance = torch.Generator().manual_seed(seed)
            turn = torch.randn(vectors.shape[1], len(mean), generator=chance).to(table.device)
            if len(turn) <= len(mean):  # rows at right angles, so that distances stay
                turn = torch.linalg.qr(turn.T)[0].T
            apart = (vectors - vectors.mean(0)) @ turn
            rows.append(mean + apart * spread / _spread(apart).clamp(min=1e-9))
    return ids, torch.cat(rows)


def _shares(codec: ModalityCodec) -> Tensor:
    """The vectors of all codes, one codebook's after another's, [all codes, d]."""
    sizes = codec.codebook_sizes
    book = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)])
    code = torch.cat([torch.arange(size) for size in sizes])
    parts = [
        codec.shares(*(each.to(codec.device) for each in pair))
        for pair in zip(book.split(8192), code.split(8192), strict=True)
    ]
    return torch.cat(parts).float()


def _spread(rows: Tensor) -> Tensor:
    """Length of rows around their mean, as the root of the mean square."""
    return (rows - rows.mean(0)).square().sum(1).mean().sqrt()
