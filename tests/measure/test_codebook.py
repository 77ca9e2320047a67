from math import log2

import pytest
import torch

from hf_tokext import CodecError
from hf_tokext.measure.codebook import codebook_use


def test_counts_worked_out_by_hand():
    (use,) = codebook_use([torch.tensor([[0, 0, 1]]), torch.tensor([[0, 0, 2, 1, 2]])], [8])
    assert (use.size, use.counted, use.used, use.most, use.stored_bits) == (8, 8, 3 / 8, 1 / 2, 3)
    assert use.bits == pytest.approx(1.5) and use.perplexity == pytest.approx(2**1.5)
    assert use.huffman_bits == 1.5  # 1, 2 and 2 bits
    assert use.used_if_even == pytest.approx(1 - (7 / 8) ** 8)


def test_even_codes_use_what_is_to_be_expected_of_few():
    chance = torch.Generator().manual_seed(0)
    codes = torch.randint(1024, (2, 1500), generator=chance)
    for use in codebook_use([codes], [1024, 1024]):
        assert use.used == pytest.approx(use.used_if_even, abs=0.03) and use.used < 0.8
    codes = torch.randint(16, (1, 200_000), generator=chance)
    (use,) = codebook_use(codes.split(1000, 1), [16])
    assert use.bits == pytest.approx(4, abs=1e-3) and use.huffman_bits == pytest.approx(4, abs=0.01)


def test_huffman_lies_between_the_entropy_and_one_bit_more():
    chance = torch.Generator().manual_seed(1)
    shares = 1 / torch.arange(1, 65).double()
    codes = torch.multinomial(shares, 5000, replacement=True, generator=chance)[None]
    (use,) = codebook_use([codes], [64])
    assert use.bits < use.huffman_bits < use.bits + 0.1 < log2(64)


def test_codebooks_of_one_code_and_of_many():
    one, many = codebook_use([torch.tensor([[0, 0], [3, 3]])], [1, 2**18])
    assert (one.used, one.used_if_even, one.bits, one.huffman_bits, one.stored_bits) == (1, 1, 0, 0, 0)
    assert many.used == 2**-18 and many.used_if_even == pytest.approx(2**-17, rel=1e-4) and many.perplexity == 1


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([], "no codes"),
        ([torch.zeros(2, 0, dtype=torch.long)], "no codes"),
        ([torch.zeros(3, 4, dtype=torch.long)], r"file 0 has codes of the shape \[3, 4\], not \[2, T\]"),
        ([torch.zeros(4, dtype=torch.long)], "of the shape"),
        ([torch.zeros(2, 1).long(), torch.tensor([[0], [4]])], "file 1 has codes from 4 to 4 in codebook 1"),
        ([torch.tensor([[-1], [0]])], "codes from -1 to -1 in codebook 0, which has 0 to 3"),
    ],
)
def test_what_cannot_be_measured(codes, message):
    with pytest.raises(CodecError, match=message):
        codebook_use(codes, [4, 4])
