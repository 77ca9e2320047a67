"""What a codec has to beat: the mean, a transform with scalar quantisation, and k-means, at a given number of bits.

Every baseline learns from vectors [n, d] and gives back a function that sends vectors through it and returns them as they
come back.
"""

from collections.abc import Callable

import torch

from hf_tokext.quantizers.kmeans import kmeans
from hf_tokext.quantizers.search import nearest

Through = Callable[[torch.Tensor], torch.Tensor]
MOST_BITS = 8  # of one coefficient
ROUNDS = 30  # of Lloyd's algorithm


def mean_of(train: torch.Tensor) -> Through:
    """The mean, which takes no bits."""
    mean = train.mean(0)
    return lambda values: mean.expand_as(values)


def dct(size: int, channels: int = 3) -> torch.Tensor:
    """Orthonormal basis of square images [channels * size * size, same]: cosines, and grey and two colour differences."""
    place = torch.arange(size, dtype=torch.float64)
    cosines = torch.cos(torch.pi / size * (place[None] + 0.5) * place[:, None]) * (2 / size) ** 0.5
    cosines[0] /= 2**0.5
    colours = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    colours = colours / colours.norm(dim=1, keepdim=True) if channels == 3 else torch.eye(channels, dtype=torch.float64)
    return torch.kron(colours, torch.kron(cosines, cosines)).float()


def pca(train: torch.Tensor, most: int = 512) -> torch.Tensor:
    """The directions of largest variance, [most or fewer, d]."""
    centred = train - train.mean(0)
    if len(train) < train.shape[1]:
        return torch.linalg.svd(centred, full_matrices=False).Vh[:most]
    values, vectors = torch.linalg.eigh(centred.t().double() @ centred.double())
    return vectors.t().flip(0)[:most].float()


def transform(train: torch.Tensor, basis: torch.Tensor, bits: int) -> Through:
    """Coefficients of an orthonormal basis, each by a scalar quantiser of its own; bits go where they help most.

    Quantisers are Lloyd's, made of the training vectors. Bits are given one by one to the coefficient whose error falls
    most by it, which is the best there is where errors are convex in bits. Coefficients without bits are their mean.
    """
    mean = train.mean(0)
    coefficients = (train - mean) @ basis.t()
    kept = coefficients.var(0).topk(min(bits, len(basis))).indices  # at one bit each there can be no more
    tables: list[list[torch.Tensor]] = []
    errors: list[list[float]] = []
    for number in kept.tolist():
        ordered = coefficients[:, number].sort().values.double()
        tables.append([ordered.mean()[None]])
        errors.append([float(ordered.var(unbiased=False))])
    given = [0] * len(kept)

    def gain(place: int) -> float:
        """By how much the error falls with one bit more."""
        while len(errors[place]) <= given[place] + 1:
            ordered = coefficients[:, kept[place]].sort().values.double()
            table, error = lloyd(ordered, 2 ** (len(errors[place])))
            tables[place].append(table)
            errors[place].append(error)
        return errors[place][given[place]] - errors[place][given[place] + 1]

    gains = [gain(place) for place in range(len(kept))]
    for _ in range(bits):
        best = max(range(len(gains)), key=gains.__getitem__)
        given[best] += 1
        gains[best] = gain(best) if given[best] < MOST_BITS else -1.0
    used = [(int(kept[place]), tables[place][count].float()) for place, count in enumerate(given) if count]

    def through(values: torch.Tensor) -> torch.Tensor:
        found = (values - mean) @ basis.t()
        quantised = torch.zeros_like(found)
        for number, table in used:
            middles = (table[1:] + table[:-1]) / 2
            quantised[:, number] = table[torch.bucketize(found[:, number].contiguous(), middles)]
        return quantised @ basis + mean

    return through


def lloyd(ordered: torch.Tensor, size: int) -> tuple[torch.Tensor, float]:
    """The best table of a scalar quantiser for sorted numbers, [size] ascending, and its mean squared error."""
    count = len(ordered)
    sums = torch.cat([ordered.new_zeros(1), ordered.cumsum(0)])
    squares = torch.cat([ordered.new_zeros(1), ordered.square().cumsum(0)])
    table = ordered[((torch.arange(size) + 0.5) / size * count).long()].clone()
    for _ in range(ROUNDS):
        cuts = torch.searchsorted(ordered, (table[1:] + table[:-1]) / 2)
        edges = torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), count)])
        held = edges.diff()
        table = torch.where(held > 0, (sums[edges[1:]] - sums[edges[:-1]]) / held.clamp(min=1), table)
    cuts = torch.searchsorted(ordered, (table[1:] + table[:-1]) / 2)
    edges = torch.cat([cuts.new_zeros(1), cuts, cuts.new_full((1,), count)])
    part = sums[edges[1:]] - sums[edges[:-1]]
    total = squares[-1] - (2 * table * part - edges.diff() * table.square()).sum()
    return table, float(total / count)


def nearest_centre(train: torch.Tensor, size: int, seed: int, iterations: int = 25) -> Through:
    """k-means: whole vectors, log2(size) bits each."""
    centres = kmeans(train, size, iterations, torch.Generator().manual_seed(seed))
    return lambda values: centres[nearest(values, centres)]


def in_blocks(images: torch.Tensor, side: int) -> torch.Tensor:
    """Images [n, c, h, w] as square blocks in rows, [n * h/side * w/side, c * side * side]."""
    count, channels, height, width = images.shape
    blocks = images.reshape(count, channels, height // side, side, width // side, side)
    return blocks.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels * side * side)


def from_blocks(blocks: torch.Tensor, shape: torch.Size, side: int) -> torch.Tensor:
    """The images of blocks."""
    count, channels, height, width = shape
    found = blocks.reshape(count, height // side, width // side, channels, side, side)
    return found.permute(0, 3, 1, 4, 2, 5).reshape(shape)
