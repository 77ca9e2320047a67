"""How a codebook learns: by hand, from several processes, and again from a checkpoint."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.utils.checkpoint import checkpoint

from hf_tokext.quantizers import VectorQuantizer
from hf_tokext.quantizers.codebook import Codebook
from hf_tokext.quantizers.kmeans import draw, kmeans
from tests.quantizers.conftest import vectors


def test_moving_averages_by_hand():
    book = Codebook(2, 1, decay=0.75, dead_below=0.0).train()
    book.batches.fill_(1)  # no start by k-means
    book.weight.copy_(torch.tensor([[0.0], [10.0]]))
    book.mass.copy_(torch.tensor([4.0, 2.0]))
    book.sums.copy_(book.weight * book.mass[:, None])
    values = torch.tensor([[1.0], [2.0], [9.0]])
    book.learn(values, book.nearest(values))
    torch.testing.assert_close(book.mass, torch.tensor([0.75 * 4 + 0.25 * 2, 0.75 * 2 + 0.25]))
    torch.testing.assert_close(book.sums, torch.tensor([[0.25 * 3], [0.75 * 20 + 0.25 * 9]]))
    torch.testing.assert_close(book.weight, torch.tensor([[0.75 / 3.5], [17.25 / 1.75]]))


def test_losses_and_gradients_by_hand():
    made = VectorQuantizer(1, size=2, decay=None, commitment=0.5, dead_below=0.0).train()
    made.codebook.batches.fill_(1)
    made.codebook.weight.data.copy_(torch.tensor([[0.0], [10.0]]))
    values = torch.tensor([[[1.0], [7.0]]], requires_grad=True)
    out = made(values)
    assert out.codes.tolist() == [[[0, 1]]]
    torch.testing.assert_close(out.losses["commitment"], torch.tensor(0.5 * (1 + 9) / 2))
    torch.testing.assert_close(out.losses["codebook"], torch.tensor((1.0 + 9) / 2))
    out.loss.backward()
    torch.testing.assert_close(values.grad, torch.tensor([[[0.5], [-1.5]]]))
    torch.testing.assert_close(made.codebook.weight.grad, torch.tensor([[-1.0], [3.0]]))


def test_the_first_batch_gives_the_start():
    clusters = torch.arange(6.0)[:, None] * 10
    values = (clusters.repeat(50, 1) + 0.01 * torch.randn(300, 1, generator=torch.Generator().manual_seed(0)))[None]
    made = VectorQuantizer(1, size=6, dead_below=0.0).train()
    made(values)
    error = made.eval()(values).quantized - values
    assert float(error.abs().max()) < 6  # no two clusters share a code far from both
    assert made(values).codes.unique().numel() >= 5


@pytest.mark.parametrize("decay", [0.99, None])
def test_dead_codes_come_back_to_life(decay):
    made = VectorQuantizer(8, size=64, decay=decay).train()
    made.codebook.batches.fill_(1)
    made.codebook.weight.data.fill_(100.0)
    made.codebook.weight.data[0] = 0.0
    for step in range(400):
        made(vectors(4, 64, seed=step))
    made.reset_usage()
    made.eval()(vectors(40, 64, seed=1_000))
    assert made.usage()[0].used > 0.9
    stuck = VectorQuantizer(8, size=64, decay=decay, dead_below=0.0).train()
    stuck.codebook.batches.fill_(1)
    stuck.codebook.weight.data.copy_(torch.full((64, 8), 100.0))
    stuck.codebook.weight.data[0] = 0.0
    stuck(vectors(4, 64))
    assert stuck.usage()[0].used == 1 / 64


def test_the_same_seed_draws_the_same():
    books = [VectorQuantizer(8, size=64, seed=seed).train() for seed in (3, 3, 4)]
    for step in range(20):
        torch.manual_seed(step)  # of no importance
        for book in books:
            torch.rand(1)
            book(vectors(seed=step))
    first, same, other = (book.codebook.weight for book in books)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_checkpointing_learns_once():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.quantizer = VectorQuantizer(8, size=16)

        def forward(self, values):
            return self.quantizer(values).quantized

    found = []
    for reentrant in (None, True, False):
        block = Block().train()
        values = vectors().requires_grad_()
        for _ in range(3):
            out = block(values) if reentrant is None else checkpoint(block, values, use_reentrant=reentrant)
            out.sum().backward()
        found.append((int(block.quantizer.codebook.batches), block.quantizer.codebook.weight.clone()))
    assert [number for number, _ in found] == [3, 3, 3]
    assert torch.equal(found[0][1], found[1][1]) and torch.equal(found[0][1], found[2][1])


def _process(rank: int, count: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    made = VectorQuantizer(8, size=16).train()
    for step in range(30):
        made(vectors(seed=step * count + rank))
    torch.save(made.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_processes_learn_from_the_vectors_of_all(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_process, (2, port, str(tmp_path)), nprocs=2)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert float(one["codebook.mass"].sum()) == pytest.approx(200, rel=1e-3)  # vectors of both


def test_kmeans_ends_where_every_centre_is_a_mean():
    chance = torch.Generator().manual_seed(0)
    values = torch.randn(300, 2, generator=chance)
    start, found = (kmeans(values, 8, rounds, torch.Generator().manual_seed(1)) for rounds in (0, 60))
    distances = [torch.cdist(values, centres) for centres in (start, found)]
    index = distances[1].argmin(1)
    means = torch.stack([values[index == number].mean(0) for number in range(8)])
    torch.testing.assert_close(found, means)
    assert float(distances[1].amin(1).square().mean()) < 0.8 * float(distances[0].amin(1).square().mean())


def test_kmeans_of_few_vectors():
    chance = torch.Generator().manual_seed(0)
    found = kmeans(torch.tensor([[1.0], [2.0]]), 5, 3, chance)
    assert found.shape == (5, 1) and found.unique().numel() == 5
    assert sorted(draw(3, 7, chance).bincount().tolist()) == [2, 2, 3]
