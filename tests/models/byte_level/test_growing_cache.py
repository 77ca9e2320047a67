import torch
from transformers import DynamicCache

from hf_tokext.models.byte_level.growing_cache import SPARE, growing_cache


def test_it_holds_what_the_cache_of_transformers_holds():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = growing_cache(), DynamicCache()
    moved = 0
    for step in range(60):
        new = [torch.randn(2, 3, 1 + step % 7, width, generator=generator) for width in (4, 5)]
        for layer in range(2):
            before = ours.layers[layer].keys.data_ptr() if step else 0
            found, expected = ours.update(*new, layer), theirs.update(*new, layer)
            assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
            moved += found[0].data_ptr() != before
        assert ours.get_seq_length() == theirs.get_seq_length() == ours.get_seq_length(1)
    assert moved <= 2 * 4  # 64 places, then half as many more each time: not once a step
    assert ours.layers[0]._room[0].shape[-2] <= 1.5 * ours.get_seq_length() + SPARE


def test_what_is_kept_stands_in_the_order_asked_for():
    cache = growing_cache()
    keys = torch.arange(12.0).view(1, 1, 6, 2)
    cache.update(keys, keys + 100, 0)
    cache.layers[0].keep(torch.tensor([4, 1]))
    found, values = cache.update(keys[..., :1, :], keys[..., :1, :], 0)
    assert torch.equal(found, keys[..., [4, 1, 0], :]) and torch.equal(values[..., :2, :], keys[..., [4, 1], :] + 100)
