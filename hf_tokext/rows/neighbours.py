"""`neighbours`: a new row from the base's rows of the anchors whose word vectors are nearest."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hf_tokext.errors import RowMethodError
from hf_tokext.rows.compose import compose
from hf_tokext.rows.problem import RowProblem, Rows
from hf_tokext.rows.registry import register_row_method

BLOCK_BYTES = 1 << 28
COPIES = 6  # float64 matrices [block, A] alive at once: similarities, weights, and what sparsemax sorts and sums


@register_row_method("neighbours", needs=("word_vectors",))
def neighbours(
    problem: RowProblem, *, weights: str = "sparsemax", temperature: float = 0.1, neighbours: int = 10
) -> Rows:
    """Make each row a convex combination of anchors' rows, weighted by the cosine of word vectors.

    "sparsemax" weighs all anchors by the sparsemax of their cosines (FOCUS, Dobler and de Melo 2023, arXiv 2305.14481);
    "softmax" weighs the nearest anchors by softmax(cosine / temperature) (WECHSEL, Minixhofer et al. 2022,
    arXiv 2112.06598). Ids whose word vector is zero get the row of `compose`.

    Args:
        problem: base [base ids, D], anchors [A, 2] with their pieces, M wanted ids with theirs, and word vectors.
        weights: "sparsemax" or "softmax".
        temperature: of the softmax; sparsemax has none.
        neighbours: how many anchors the softmax weighs; sparsemax chooses their number itself.

    Returns:
        Rows [M, D]; the residual is the distance of an id's unit word vector from the same combination of the anchors'
        unit word vectors, at most 1, and 1 where `compose` stood in.

    Raises:
        RowMethodError: an option is out of range, the anchors' pieces are missing, or no anchor has a word vector.
    """
    if weights not in ("sparsemax", "softmax"):
        raise RowMethodError(f"weights of neighbours must be sparsemax or softmax, not {weights!r}")
    if temperature <= 0 or neighbours < 1:
        raise RowMethodError("neighbours needs a positive temperature and at least one neighbour")
    if len(problem.anchor_pieces) != len(problem.anchors):
        raise RowMethodError(
            f"neighbours needs the piece of every anchor: {len(problem.anchors)} anchors, "
            f"{len(problem.anchor_pieces)} anchor_pieces; give RowProblem its anchor_pieces"
        )
    anchor_vectors, vectors = _vectors(problem, problem.anchor_pieces), _vectors(problem, problem.pieces)
    usable = anchor_vectors.any(1)
    if not bool(usable.any()):
        raise RowMethodError("no anchor has a word vector; train the word vectors on more text or choose compose")
    anchor_vectors = anchor_vectors[usable]
    atoms = problem.base[problem.anchors[:, 1][usable]]
    values, residual = compose(problem).values, torch.ones(len(vectors))
    budget = min(BLOCK_BYTES, problem.max_memory or BLOCK_BYTES)
    block = max(1, budget // (8 * COPIES * len(atoms)))
    done = 0
    for part in vectors.any(1).nonzero().squeeze(1).split(block):
        cosines = vectors[part] @ anchor_vectors.T
        shares = sparsemax(cosines) if weights == "sparsemax" else _nearest(cosines, neighbours, temperature)
        values[part] = (shares.float() @ atoms).float()
        residual[part] = (shares @ anchor_vectors - vectors[part]).norm(dim=1).clamp(max=1).float()
        done += len(part)
        if problem.progress is not None:
            problem.progress(done, len(vectors))
    return Rows(values, residual)


def sparsemax(scores: Tensor) -> Tensor:
    """Project every row onto the probability simplex (Martins and Astudillo 2016, algorithm 1).

    Args:
        scores: [N, A], finite.

    Returns:
        The nearest point of the simplex in Euclidean distance, [N, A]: not negative, rows sum to 1, mostly zeros.
    """
    # a shift leaves the projection as it is, and large scores do not swallow the 1
    scores = scores - scores.amax(-1, keepdim=True)
    ordered = scores.sort(-1, descending=True).values
    sums = ordered.cumsum(-1)
    ranks = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype, device=scores.device)
    support = (1 + ranks * ordered > sums).sum(-1, keepdim=True)
    threshold = (sums.gather(-1, support - 1) - 1) / support
    return (scores - threshold).clamp(min=0)


def _nearest(cosines: Tensor, count: int, temperature: float) -> Tensor:
    best, places = cosines.topk(min(count, cosines.shape[1]), dim=1)
    return torch.zeros_like(cosines).scatter_(1, places, (best / temperature).softmax(1))


def _vectors(problem: RowProblem, pieces: Sequence[bytes]) -> Tensor:
    if problem.word_vectors is None:
        raise RowMethodError("row method 'neighbours' needs word_vectors; choose a method that works without")
    vectors = problem.word_vectors(pieces)
    if vectors.ndim != 2 or len(vectors) != len(pieces) or not bool(vectors.isfinite().all()):
        raise RowMethodError(f"word_vectors must give finite vectors [{len(pieces)}, W], not {list(vectors.shape)}")
    return normalize(vectors.double(), dim=1)
