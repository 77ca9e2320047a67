"""A codec, and how a language model reads and writes its codes."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from hf_tokext.errors import ModalityError
from hf_tokext.evaluating import evaluating
from hf_tokext.models.codec import ModalityCodec
from hf_tokext.models.multimodal.flow_head import FlowHead, LatentScale
from hf_tokext.vocabulary.code_space import CodeSpace
from hf_tokext.vocabulary.spaces import Spaces

PROBES = 8  # numbers of a fingerprint
ALIKE = 0.01  # share of its length by which two of one codec may differ: bfloat16 makes 0.003, training 0.014 and more


@dataclass
class Perceived:
    """What a sense makes of values.

    Attributes:
        ids: [N] ids of the codes of all values, one value's after another's; placeholders for a continuous codec.
        latents: [N, d], the vector of the place that each id is of; with gradient where the codec learns.
        loss: the codec's own loss, where it learns.
    """

    ids: Tensor
    latents: Tensor
    loss: Tensor | None = None


class Projector(nn.Module):
    """From vectors of a codec to embeddings (ETT, Wang et al., arXiv 2505.10562, section 3.2).

    Args:
        dim: d, numbers of a vector.
        inner: numbers inside.
        width: of the embeddings.
    """

    def __init__(self, dim: int, inner: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, inner)
        self.second = nn.Linear(inner, width)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project vectors.

        Args:
            vectors: [N, d].

        Returns:
            [N, width].
        """
        hidden = nn.functional.gelu(self.first(vectors.to(self.first.weight.dtype)))
        return self.second(hidden)

    @torch.no_grad()
    def fit(self, vectors: Tensor, mean: Tensor, spread: Tensor) -> None:
        """Let it begin with embeddings like those of tokens.

        Args:
            vectors: [N, d], all that it will see or some like them.
            mean: [width], of the tokens' embeddings.
            spread: scalar, their length around it, as the root of the mean square.
        """
        found = self(vectors).float()
        own = (found - found.mean(0)).square().sum(1).mean().sqrt().clamp(min=1e-9)
        self.second.weight.mul_(spread / own)
        self.second.bias.copy_(mean - (found.mean(0) - self.second.bias) * spread / own)


class Sense(nn.Module):
    """A codec in a language model.

    Args:
        settings: as `MultimodalConfig.senses` has it.
        width: of the language model's embeddings.
        codec: the codec; None makes a new one.

    Attributes:
        codec: the codec.
        space: ids of its codes.
        projector: from its vectors to embeddings, where its codes are not read by rows of their own.
        flow: draws latents, where it is continuous.
        scale: brings latents to unit size, where it is continuous.
    """

    def __init__(self, settings: dict[str, Any], width: int, codec: ModalityCodec | None = None) -> None:
        super().__init__()
        (space,) = Spaces.from_json([settings["space"]]).codes.values()
        self.space: CodeSpace = space
        self.codec: ModalityCodec = AutoModel.from_config(settings["codec"]) if codec is None else codec
        if not isinstance(self.codec, ModalityCodec):
            raise ModalityError(f"the codec of {space.name!r} is a {type(self.codec).__name__}, no ModalityCodec")
        self.by_vectors = settings["input"] != "ids"
        if self.by_vectors:
            self.projector = Projector(settings["dim"], settings["projector_size"] or width, width)
        if space.is_continuous:
            self.scale = LatentScale(settings["dim"])
            self.flow = FlowHead(settings["dim"], width, settings["flow_layers"])

    def perceive(self, values: dict[str, Tensor], learn: bool) -> Perceived:
        """Encode values.

        Args:
            values: what the codec's processor gives, by those names.
            learn: whether the codec is to learn from them.

        Returns:
            Ids and vectors of all places where something stands.

        Raises:
            ModalityError: what the codec wants is not there.
            CodecError: the codec cannot take them.
        """
        main = self.codec.main_input_name
        if main not in values:
            raise ModalityError(f"{self.space.name!r} needs {self.space.name}_{main}, as the processor gives it")
        given = {key: value.to(self.codec.device) for key, value in values.items()}
        with torch.autocast(self.codec.device.type, enabled=False):  # in another precision, codes would be others
            if learn:
                found: Any = self.codec(**given, return_loss=True)
            else:
                rest = [value for key, value in given.items() if key != main]
                with torch.no_grad(), evaluating(self.codec):
                    found = self.codec.encode(given[main], *rest)
        ids, latents = [], []
        books = max(len(self.space.codebooks), 1)
        for row in range(len(found.latents)):
            here = found.mask[row]
            steps = int(here.sum())
            _, place = self.space.order.order(steps)
            latents.append(found.latents[row][here][place.to(here.device)])
            if self.space.is_continuous:
                ids.append(torch.full((books * steps,), self.space.placeholder, device=here.device))
            else:
                ids.append(self.space.to_ids(found.codes[row][:, here]))
        return Perceived(torch.cat(ids), torch.cat(latents), found.loss if learn else None)

    def vectors(self, ids: Tensor) -> Tensor:
        """Give the vectors of codes.

        Args:
            ids: [N] ids of this space.

        Returns:
            [N, d] float32.
        """
        book, code = self.space.parts(ids.to(self.codec.device))
        return self.codec.shares(book, code)

    @torch.no_grad()
    def fingerprint(self) -> list[float]:
        """Say in a few numbers what codec it is.

        Returns:
            Sums over all its numbers, with signs that do not depend on them.

        Raises:
            ModalityError: it is not in memory.
        """
        found = torch.zeros(PROBES, dtype=torch.float64)
        for number, (_, tensor) in enumerate(sorted(self.codec.state_dict().items())):
            if tensor.device.type == "meta":
                raise ModalityError(
                    f"parts of the codec of {self.space.name!r} are offloaded (device_map), and it computes where it lies: say "
                    'where, such as {"senses": 0, "backbone": "cpu"}'
                )
            chance = torch.Generator().manual_seed(number)
            signs = torch.randint(0, 2, (PROBES, min(tensor.numel(), 4096)), generator=chance).double() * 2 - 1
            step = max(tensor.numel() // 4096, 1)
            part = tensor.detach().cpu().flatten()[::step][: signs.shape[1]].double()
            found += signs[:, : len(part)] @ (part / part.norm().clamp(min=1e-9))
        return [round(value, 6) for value in found.tolist()]


def alike(one: list[float], other: list[float]) -> bool:
    """Whether two fingerprints are of one codec, up to rounding.

    Args:
        one: a fingerprint.
        other: a fingerprint.

    Returns:
        Whether they are.
    """
    first, second = torch.tensor(one), torch.tensor(other)
    return len(first) == len(second) and bool((first - second).norm() <= ALIKE * first.norm().clamp(min=1e-6))
