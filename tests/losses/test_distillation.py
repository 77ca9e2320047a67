"""Distillation over time, against the formula written out."""

import math

import pytest
import torch

from hf_tokext import CodecError
from hf_tokext.losses.distillation import fitted, over_time_distillation


def test_the_formula():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 7, 3), torch.randn(2, 7, 3)
    parts = []
    for one, other in zip(student, teacher, strict=True):
        for number in range(3):
            a, b = one[:, number], other[:, number]
            parts.append(-math.log(1 / (1 + math.exp(-float(a @ b / (a.norm() * b.norm()))))))
    assert over_time_distillation(student, teacher).item() == pytest.approx(sum(parts) / len(parts), rel=1e-5)
    assert over_time_distillation(student, 3 * student).item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)


def test_lengths_and_masks():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 7, 3), torch.randn(2, 5, 3)
    longer = torch.cat([teacher, torch.zeros(2, 2, 3)], 1)
    whole = over_time_distillation(student, longer)
    assert torch.equal(over_time_distillation(student, teacher), whole)
    assert torch.equal(over_time_distillation(student, torch.cat([longer, torch.ones(2, 4, 3)], 1)), whole)
    mask = torch.arange(7).expand(2, 7) < 4
    torch.testing.assert_close(
        over_time_distillation(student, teacher, mask), over_time_distillation(student[:, :4], teacher[:, :4])
    )
    assert fitted(teacher, 3).shape == (2, 3, 3)


def test_gradient_goes_to_the_student_alone():
    student, teacher = torch.randn(1, 4, 2, requires_grad=True), torch.randn(1, 4, 2, requires_grad=True)
    over_time_distillation(student, teacher).backward()
    assert student.grad.abs().sum() > 0 and teacher.grad is None
    nothing = over_time_distillation(student, torch.zeros(1, 4, 2))
    assert nothing.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("shape", [(2, 5, 4), (1, 5, 3), (2, 3)])
def test_shapes(shape):
    with pytest.raises(CodecError, match="must be"):
        over_time_distillation(torch.randn(2, 7, 3), torch.randn(shape))
