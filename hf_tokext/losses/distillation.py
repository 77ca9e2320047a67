"""What a student's vectors over time may learn from a teacher's."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, logsigmoid

from hf_tokext.errors import CodecError


def over_time_distillation(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compare each number of the vectors with the teacher's as a curve over time: -log sigmoid(cosine), a mean.

    What is constant in time is compared as well as what changes: no mean is taken off. A teacher that is longer is cut, a
    shorter one ends in zeros. A sample with nothing to compare (all zeros) has a cosine of 0 and no gradient.

    Args:
        student: [B, T, D].
        teacher: [B, T', D]; no gradient goes there.
        mask: [B, T] bool, what counts; None for all.

    Returns:
        A scalar; log 2 where nothing agrees, log(1 + 1/e) = 0.313 at best.

    Raises:
        CodecError: the shapes do not fit.

    Source: Zhang et al., SpeechTokenizer (arXiv 2308.16692), equation 3; Ahasan et al., DM-Codec (arXiv 2410.15017),
        section 3.2.
    """
    if (
        student.dim() != 3
        or teacher.dim() != 3
        or (student.shape[0], student.shape[2])
        != (
            teacher.shape[0],
            teacher.shape[2],
        )
    ):
        raise CodecError(
            f"the teacher's vectors must be [{student.shape[0]}, time, {student.shape[-1]}], not {list(teacher.shape)}"
        )
    student, teacher = student.float(), fitted(teacher.detach().float(), student.shape[1])
    if mask is not None:
        student, teacher = student * mask[..., None], teacher * mask[..., None]
    return -logsigmoid(cosine_similarity(student, teacher, dim=1)).mean()


def fitted(values: Tensor, length: int) -> Tensor:
    """Cut vectors over time to a length, or end them in zeros.

    Args:
        values: [B, T', D].
        length: T.

    Returns:
        [B, T, D].
    """
    missing = max(length - values.shape[1], 0)
    return torch.nn.functional.pad(values, (0, 0, 0, missing))[:, :length]
