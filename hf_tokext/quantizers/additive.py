"""Vector quantization by a sum of vectors that are chosen together."""

import torch
from torch import Tensor

from hf_tokext.quantizers.base import Parts, Quantizer, mean_square, through
from hf_tokext.quantizers.codebook import Codebooks
from hf_tokext.quantizers.search import nearest

AT_ONCE = 1 << 22  # scores that are held at a time


class AdditiveQuantizer(Quantizer):
    """A sum of vectors, one of each codebook, chosen by beam search and then one by one until nothing gets better.

    The error is never above that of the greedy choice, which is residual quantization with the same codebooks.

    Args:
        dim: numbers of a vector outside.
        size: number of codes K of each codebook.
        codebooks: how many there are.
        inner: numbers of a code vector; None for `dim`.
        beams: sums that are kept after each codebook.
        rounds: times that every code is chosen anew, the others standing.
        decay: of the moving averages that the codes are; there is no other way to learn them here.
        commitment: weight of the loss that draws vectors to their sums.
        dead_below: as for `Codebook`.
        seed: as for `Codebook`.

    Source: Babenko and Lempitsky, Additive Quantization for Extreme Vector Compression (CVPR 2014), sections 2 and 3;
        iterated conditional modes as in Martinez et al., Revisiting Additive Quantization (ECCV 2016), section 3.
    """

    def __init__(
        self, dim: int, size: int = 256, codebooks: int = 4, inner: int | None = None, beams: int = 8, rounds: int = 2,
        decay: float = 0.99, commitment: float = 0.25, dead_below: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(dim, (size,) * codebooks, inner or dim)
        self.beams, self.rounds, self.commitment = beams, rounds, commitment
        self.terms = Codebooks(codebooks, size, self.inner, seed, decay=decay, dead_below=dead_below)

    def reset_parameters(self) -> None:
        """As for every quantizer."""
        super().reset_parameters()
        self.terms.reset_parameters()

    def _quantize(self, values: Tensor) -> Parts:
        left = values.detach()
        for term in self.terms:  # the start is that of residual quantization
            term.start(left)
            if self.training and int(term.batches) == 0:
                left = left - term.lookup(term.nearest(left))
        codes = self._codes(values)
        sums = self._vectors(codes)
        losses = {"commitment": self.commitment * mean_square(values, sums.detach())}
        for number, term in enumerate(self.terms):
            index = codes[:, number]
            term.learn(values - (sums - term.lookup(index)), index)  # what the others leave to this one
        return through(values, sums), codes, losses

    @torch.no_grad()
    def _codes(self, values: Tensor) -> Tensor:
        step = max(AT_ONCE // (self.beams * self.sizes[0]), 1)
        found = [self._chosen(part) for part in values.split(step)]
        return torch.cat(found) if found else values.new_zeros((0, self.codebooks), dtype=torch.long)

    def _chosen(self, values: Tensor) -> Tensor:
        """Codes of [n, inner]: the better of the beam's best and the greedy choice, each bettered code by code."""
        options = [self._refined(values, codes) for codes in (self._greedy(values), self._beam(values))]
        errors = torch.stack([(values - self._vectors(codes)).double().square().sum(1) for codes in options])
        return torch.where((errors[1] < errors[0])[:, None], options[1], options[0])

    def _greedy(self, values: Tensor) -> Tensor:
        found = []
        for term in self.terms:
            index = term.nearest(values)
            values = values - term.lookup(index)
            found.append(index)
        return torch.stack(found, 1)

    def _beam(self, values: Tensor) -> Tensor:
        count = len(values)
        left = values[:, None]  # [n, beams, inner]: what each beam leaves over
        codes = values.new_zeros((count, 1, 0), dtype=torch.long)
        for term in self.terms:
            table = term.vectors()
            distances = left.square().sum(-1, keepdim=True) - 2 * left @ table.t() + table.square().sum(1)
            best = (
                distances.flatten(1)
                .topk(min(self.beams, distances.shape[1] * distances.shape[2]), largest=False)
                .indices
            )
            beam, index = best // self.sizes[0], best % self.sizes[0]
            left = left.gather(1, beam[..., None].expand(-1, -1, left.shape[-1])) - table[index]
            codes = torch.cat([codes.gather(1, beam[..., None].expand(-1, -1, codes.shape[-1])), index[..., None]], 2)
        best = left.square().sum(-1).argmin(1)
        return codes[torch.arange(count, device=codes.device), best]

    def _refined(self, values: Tensor, codes: Tensor) -> Tensor:
        codes = codes.clone()
        left = values - self._vectors(codes)
        for _ in range(self.rounds):
            before = codes.clone()
            for number, term in enumerate(self.terms):
                target = left + term.lookup(codes[:, number])
                codes[:, number] = nearest(target, term.vectors())
                left = target - term.lookup(codes[:, number])
            if torch.equal(before, codes):
                break
        return codes

    def _vectors(self, codes: Tensor) -> Tensor:
        return torch.stack([term.lookup(index) for term, index in zip(self.terms, codes.unbind(1), strict=True)]).sum(0)
