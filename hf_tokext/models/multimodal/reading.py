"""What stands where in a batch of ids once the codecs have seen the values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from hf_tokext.errors import ModalityError
from hf_tokext.models.multimodal.id_rows import LEFT_OUT
from hf_tokext.models.multimodal.sense import Perceived, Sense


@dataclass
class Reading:
    """A batch with codes in place of placeholders.

    Attributes:
        ids: [B, T], with codes; placeholders of continuous codecs still stand.
        holes: by modality, [B, T] bool, where placeholders stood.
        latents: by modality, [N, d], the vectors of those places, in the order of rows.
        continuous: placeholders of continuous modalities that have latents here, by name.
        loss: of the codecs that learn.
    """

    ids: Tensor
    holes: dict[str, Tensor] = field(default_factory=dict)
    latents: dict[str, Tensor] = field(default_factory=dict)
    continuous: dict[str, int] = field(default_factory=dict)
    loss: Tensor | None = None

    def embed(self, senses: Mapping[str, Sense], table: nn.Module) -> Tensor | None:
        """Make embeddings, if one modality is not read by rows.

        Args:
            senses: the modalities.
            table: from ids to embeddings.

        Returns:
            [B, T, D], or None.

        Raises:
            ModalityError: a continuous modality has placeholders and no latents.
        """
        if not any(sense.by_vectors for sense in senses.values()):
            return None
        found = table(self.ids)
        for name, sense in senses.items():
            if sense.by_vectors:
                space = sense.space
                here = (self.ids >= space.base) & (self.ids < space.base + space.size)
                if bool(here.any()):
                    projected = sense.projector(self._vectors(name, sense, here))
                    places = here[..., None].expand_as(found).to(found.device)
                    found = found.masked_scatter(places, projected.to(found))
        return found

    def _vectors(self, name: str, sense: Sense, here: Tensor) -> Tensor:
        """The vectors of all ids of a modality, [N, d]; those that were just encoded pass their gradient on."""
        latents = self.latents.get(name)
        if sense.space.is_continuous:
            if latents is None:
                raise ModalityError(f"{sense.space.marker_texts[2]} stands for latents; give the values")
            return sense.scale(latents)
        found = sense.vectors(self.ids[here])
        if latents is not None and latents.requires_grad:
            # no other codes stand there then; all that the codec learns here, it learns through the latents
            found = found.detach() + (latents - latents.detach()).float()
        return found

    def targets(self, labels: Tensor) -> Tensor:
        """Put codes into labels; what a head draws is left out there.

        Args:
            labels: [B, T] with placeholders.

        Returns:
            [B, T] without.
        """
        found = labels
        for holes in self.holes.values():
            here = holes & (labels != LEFT_OUT)
            found = torch.where(here.to(labels.device), self.ids.to(labels.device), found)
        for placeholder in self.continuous.values():
            found = found.masked_fill(found == placeholder, LEFT_OUT)
        return found

    def drawn(self, labels: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Say which latents the labels want.

        Args:
            labels: [B, T] with placeholders.

        Returns:
            Rows and places of them by continuous modality, those that have some.
        """
        found = {}
        for name in self.continuous:
            wanted = self.holes[name] & (labels.to(self.ids.device) != LEFT_OUT)
            wanted[:, 0] = False  # nothing stands before
            if bool(wanted.any()):
                row, place = wanted.nonzero(as_tuple=True)
                found[name] = (row, place)
        return found

    def rank(self, name: str, row: Tensor, place: Tensor) -> Tensor:
        """Say which of a modality's latents stand somewhere.

        Args:
            name: of the modality.
            row: [N] rows.
            place: [N] places in them.

        Returns:
            [N] indices into `latents`.
        """
        holes = self.holes[name]
        return (holes.flatten().cumsum(0) - 1).view_as(holes)[row, place]


def owner_of(names: Iterable[str], key: str) -> str | None:
    """Find the modality that a name such as image_pixel_values is of.

    Args:
        names: of the modalities.
        key: the name of an argument.

    Returns:
        The name of the modality; None where it is of none.
    """
    return max((name for name in names if key.startswith(f"{name}_")), key=len, default=None)


def read(senses: Mapping[str, Sense], input_ids: Tensor, values: Mapping[str, Any], learn: bool) -> Reading:
    """Encode values, and put their codes where placeholders stand.

    Args:
        senses: the modalities.
        input_ids: [B, T] ids.
        values: by names such as image_pixel_values.
        learn: whether the codecs are to learn.

    Returns:
        The batch.

    Raises:
        ModalityError: placeholders and codes are not equally many, or there are codes where codecs learn.
    """
    found = Reading(input_ids)
    losses = []
    for name, sense in senses.items():
        space = sense.space
        holes = input_ids == space.placeholder
        if (
            learn
            and not space.is_continuous
            and bool(((input_ids >= space.base) & (input_ids < space.base + space.size)).any())
        ):
            raise ModalityError(
                f"the ids hold codes of {name!r}, which were made before its codec learned: with tuning='end_to_end' give "
                "values, not codes, or choose set_tuning('frozen')"
            )
        given = {
            key.removeprefix(f"{name}_"): value
            for key, value in values.items()
            if value is not None and owner_of(senses, key) == name
        }
        if not given:
            if bool(holes.any()) and not space.is_continuous:
                raise ModalityError(
                    f"{int(holes.sum())} placeholders of {name!r} stand in the ids, and there are no values for them; call "
                    "the processor with both"
                )
            continue
        seen: Perceived = sense.perceive(given, learn)
        if int(holes.sum()) != len(seen.ids):
            raise ModalityError(
                f"{int(holes.sum())} placeholders of {name!r} stand in the ids, and its codec gives {len(seen.ids)} codes; the "
                "processor puts as many as there are"
            )
        found.holes[name], found.latents[name] = holes, seen.latents
        if space.is_continuous:
            found.continuous[name] = space.placeholder
            if sense.training and torch.is_grad_enabled():
                sense.scale.learn(seen.latents)
        else:
            found.ids = found.ids.masked_scatter(holes, seen.ids.to(input_ids.device))
        if seen.loss is not None:
            losses.append(seen.loss)
    if losses:
        found.loss = torch.stack(losses).sum()
    return found
