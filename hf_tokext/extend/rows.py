"""Rows of tokens that a tokenizer has already, made anew."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_tokext.errors import RowMethodError, VocabularyError
from hf_tokext.extend.spellings import spelled_without
from hf_tokext.rows import RowProblem, make_rows, row_method
from hf_tokext.transplant.direction import head_direction
from hf_tokext.transplant.in_memory import model_tables
from hf_tokext.transplant.tables import MADE_SHIFT
from hf_tokext.transplant.vocabulary_tensors import vocabulary_tensors_of_model
from hf_tokext.transplant.vocabulary_twin import named_tensors
from hf_tokext.transplant.word_vectors import word_vectors_for
from hf_tokext.vocabulary.pieces import Vocabulary, read_vocabulary

DESCRIPTION, PIECES, BOTH = "description", "pieces", "both"
NEAREST = 5
WordVectors = Callable[[Sequence[bytes]], Tensor]


@dataclass(frozen=True)
class InitializedRow:
    """What became of one token.

    Attributes:
        index: its id.
        token: its text in the vocabulary.
        made_of: the tokens that its rows were made of; empty where a method uses none or it has none.
        norm: length of its input row, over the median length of the rows of other tokens.
        nearest: the other tokens whose input rows have the largest cosine with its own, the nearest first.
    """

    index: int
    token: str
    made_of: tuple[str, ...]
    norm: float
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class InitializedRows:
    """What `init_rows` did.

    Attributes:
        method: how the rows were made.
        rows: one entry a token, in the order in which they were given.
        calibrated: whether the logits of the tokens were lowered.
        trainable_token_indices: for PEFT, as `trainable_rows` gives them: `LoraConfig(trainable_token_indices=...)`.
    """

    method: str
    rows: tuple[InitializedRow, ...]
    calibrated: bool
    trainable_token_indices: list[int] | dict[str, list[int]]


def init_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tokens: Sequence[str | int],
    method: str = DESCRIPTION,
    *,
    descriptions: Mapping[str, str] | None = None,
    word_vectors: WordVectors | Any = None,
    texts: Sequence[str] | None = None,
    calibrate: bool = True,
    seed: int = 0,
    **options: Any,
) -> InitializedRows:
    """Make the input and output rows of tokens from those of all other tokens.

    The tokens are in the tokenizer already, such as after `tokenizer.add_tokens`; the model is resized where it has fewer
    rows than the tokenizer ids. Rows of other tokens stay as they are; of those that had none, each gets the mean row.

    Args:
        model: any model of transformers with a vocabulary, in memory; changed in place once everything is computed.
        tokenizer: its tokenizer.
        tokens: the tokens, by text or by id.
        method: "description", from the rows of a description of the token, its most frequent words left out; "pieces", from
            the rows of the other tokens that spell its bytes; "both", half of each; these three by the row method `centred`.
            Or a row method by its name, such as "mean", "normal" or "neighbours".
        descriptions: what a token means in plain words, by its text; the text itself where it has none.
        word_vectors: for "neighbours": gensim's KeyedVectors, or a function from N byte strings to vectors [N, W]; None
            learns them from `texts`.
        texts: your own text, for word vectors and calibration.
        calibrate: lower the logits of the tokens, so that they take no more probability than tokens that nothing was
            learnt of should; it runs the model once over a few thousand tokens.
        seed: seed of everything random.
        **options: of the row method.

    Returns:
        What was done.

    Raises:
        VocabularyError: a token is not in the tokenizer, is named twice, or no other token is left.
        RowMethodError: the method is unknown, or lacks what it needs.
    """
    vocabulary = read_vocabulary(tokenizer)
    ids = _ids(tokenizer, vocabulary, tokens)
    parts = (DESCRIPTION, PIECES) if method == BOTH else (method,)
    chosen = "centred" if set(parts) <= {DESCRIPTION, PIECES} else row_method(method).name
    if word_vectors is None:
        word_vectors = word_vectors_for(chosen, tokenizer, texts, seed)
    elif hasattr(word_vectors, "key_to_index"):
        word_vectors = _of_words(word_vectors)
    found = vocabulary_tensors_of_model(model)
    wanted = set(ids)
    others = [index for index in vocabulary.ids if index not in wanted and index < found.rows]
    if not others:
        raise VocabularyError("all tokens are to be made anew; some must be left to make them of")
    late = [index for index in vocabulary.ids if index not in wanted and index >= found.rows]
    spelled = [spelled_without(tokenizer, vocabulary, ids, part, descriptions or {}, late) for part in parts]

    def old(text: str) -> dict[str, list[int]]:  # what is in the texts that calibrate, but for tokens without a row
        encoded = tokenizer(text)["input_ids"]
        return {"input_ids": [index for index in encoded if index not in wanted and index < found.rows]}

    direction = head_direction(model, old, texts) if calibrate and found.has_head and not found.biases else None
    tables = model_tables(model, found)
    place = {index: row for row, index in enumerate(others)}
    ordinary = [index for index in others if index not in vocabulary.special]

    def made_of(spellings: Sequence[tuple[int, ...]], table: Tensor, side: str) -> Tensor:
        problem = RowProblem(
            base=table.float()[others],
            wanted=torch.tensor(ids),
            anchors=torch.tensor([(index, place[index]) for index in ordinary]),
            pieces=[vocabulary.piece(index) for index in ids],
            spellings=[tuple(place[index] for index in spelling) for spelling in spellings],
            anchor_pieces=[vocabulary.piece(index) for index in ordinary],
            side=side,
            word_vectors=word_vectors,
            seed=seed,
        )
        return make_rows(chosen, problem, **options).values

    def made(table: Tensor, side: str) -> Tensor:
        rows = _middle(table.float()[others].mean(0), [made_of(spellings, table, side) for spellings in spelled])
        return rows + MADE_SHIFT * direction if direction is not None and side != "input" else rows

    single = tables.output is None and tables.has_head
    rows = dict.fromkeys(found.input, made(tables.input, "tied" if single else "input"))
    if tables.output is not None:
        rows |= dict.fromkeys(found.output, made(tables.output, "output"))
    # nothing above changed the model, and nothing below can fail
    if len(vocabulary) > found.rows:
        model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    with torch.no_grad():
        tensors = named_tensors(model)
        for name, value in rows.items():
            tensors[name][ids] = value.to(tensors[name])
            usual = tables.input if name in found.input or tables.output is None else tables.output
            tensors[name][late] = usual.float()[others].mean(0).to(tensors[name])
        for name, bias in tables.biases.items():
            mean = bias.float()[..., others].mean(-1, keepdim=True)
            tensors[name][..., [*ids, *late]] = (mean + (MADE_SHIFT if calibrate else 0)).to(tensors[name])
    calibrated = direction is not None or (calibrate and bool(tables.biases))
    names = list(tokenizer.convert_ids_to_tokens(list(range(len(vocabulary)))))
    spellings = [tuple(dict.fromkeys(sum(each, ()))) for each in zip(*spelled, strict=True)]
    told = tuple(_rows(tensors[found.input[0]], names, ids, others, spellings))
    return InitializedRows(method, told, calibrated, trainable_rows(model, ids))


def trainable_rows(model: PreTrainedModel, ids: Sequence[int]) -> list[int] | dict[str, list[int]]:
    """Say which rows PEFT shall train: `LoraConfig(trainable_token_indices=trainable_rows(model, ids))`.

    Args:
        model: the model.
        ids: the tokens, such as those of a space.

    Returns:
        The ids; where the head has a matrix of its own the ids for both matrices, by the names of their modules, since
        PEFT would train the input rows only.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or getattr(head, "weight", None) is getattr(embedding, "weight", None):
        return list(ids)
    return {name: list(ids) for name, module in model.named_modules() if module in (embedding, head)}


def _ids(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, tokens: Sequence[str | int]) -> list[int]:
    known, found = tokenizer.get_vocab(), []
    for token in tokens:
        index = known.get(token) if isinstance(token, str) else int(token)
        if index is None or not (0 <= index < len(vocabulary)) or vocabulary.pieces[index] is None:
            raise VocabularyError(f"{token!r} is no token of the tokenizer; add it first (tokenizer.add_tokens)")
        found.append(index)
    if not found or len(set(found)) < len(found):
        raise VocabularyError("name the tokens whose rows are to be made, each once")
    return found


def _middle(mean: Tensor, parts: Sequence[Tensor]) -> Tensor:
    """Rows between those of several ways to make them, as long as these are on average; lengths count from the mean row."""
    if len(parts) == 1:
        return parts[0]
    apart = torch.stack([part - mean for part in parts])
    lengths = apart.norm(dim=2, keepdim=True)
    return mean + normalize(apart, dim=2).mean(0) * lengths.mean(0)


def _of_words(vectors: Any) -> WordVectors:
    """Vectors of pieces from those of words; zero where there is none."""

    def word_vectors(pieces: Sequence[bytes]) -> Tensor:
        words = [piece.decode("utf-8", "replace").strip() for piece in pieces]
        rows = [
            torch.tensor(vectors[word]) if word and word in vectors else torch.zeros(vectors.vector_size)
            for word in words
        ]
        if not rows:
            raise RowMethodError("there are no pieces to look up")
        return normalize(torch.stack(rows).float(), dim=1)

    return word_vectors


def _rows(
    table: Tensor, names: list[str], ids: list[int], others: list[int], spellings: Sequence[tuple[int, ...]]
) -> list[InitializedRow]:
    floats = table.detach().float().cpu()
    old, new = floats[others], floats[ids]
    median = float(old.norm(dim=1).median())
    nearest = (normalize(new, dim=1) @ normalize(old, dim=1).T).topk(min(NEAREST, len(others)), dim=1).indices
    return [
        InitializedRow(
            index,
            names[index],
            tuple(names[part] for part in spelling),
            float(row.norm()) / median if median else 0.0,
            tuple(names[others[at]] for at in near.tolist()),
        )
        for index, spelling, row, near in zip(ids, spellings, new, nearest, strict=True)
    ]
