"""The markers that models of different tokenizers have in common, and what those are to each of them."""

from collections.abc import Sequence

import numpy as np
from tokenizers import AddedToken

from hf_tokext.errors import UnsupportedModelError
from hf_tokext.models.blocks.markers import BOS, PAD
from hf_tokext.models.byte_level.configuration_byte_level import ByteEnsembleConfig, ByteLevelConfig
from hf_tokext.models.byte_level.ids import BYTES
from hf_tokext.models.byte_level.modeling_byte_level import ByteLevelForCausalLM
from hf_tokext.models.byte_level.tokenization_byte_level import ByteTokenizer


class MemberIds:
    """What the ids of an ensemble are to one of its members.

    Args:
        ensemble: config of the ensemble.
        member: config of the member.

    Attributes:
        read_as: [ids of the ensemble] the member's id that each is read as, or -1 for padding, which is not read. The
            end of sequence is the first that the member names.

    Raises:
        UnsupportedModelError: the member lacks a marker of the ensemble, or names no bos or eos; or the ensemble does
            not.
    """

    def __init__(self, ensemble: ByteEnsembleConfig, member: ByteLevelConfig) -> None:
        pad, bos, eos = ensemble.pad_token_id, ensemble.bos_token_id, ensemble.eos_token_id
        if pad is None or bos is None or not isinstance(eos, int):
            raise UnsupportedModelError(
                "an ensemble needs one id each for padding, bos and eos; make it with ByteEnsembleForCausalLM.from_members"
            )
        begin, *ends = role_ids(member)
        known = {text: BYTES + at for at, text in enumerate(member.markers or ())}
        self.read_as = np.arange(ensemble.vocab_size)
        self._sums: dict[int, list[int]] = {eos: ends}  # ids of the member whose probabilities add up to that of an id
        for index, text in enumerate(ensemble.markers or (), BYTES):
            if index == pad:
                self.read_as[index] = -1
            elif index == eos:
                self.read_as[index] = ends[0]
            else:
                if index != bos and text not in known:
                    raise UnsupportedModelError(
                        f"the ensemble's marker {text!r} is none of a member's: {sorted(known)}"
                    )
                own = self.read_as[index] = begin if index == bos else known[text]
                self._sums[index] = [own] if own not in ends and (index == bos or own != begin) else []

    def shared(self, found: np.ndarray) -> np.ndarray:
        """Put a member's log probabilities in the order of the ensemble's ids, and leave the rest out.

        Args:
            found: [..., ids of the member].

        Returns:
            [..., ids of the ensemble]; they add up to one, unless all are minus infinity.
        """
        shared = np.full((*found.shape[:-1], len(self.read_as)), -np.inf)
        shared[..., :BYTES] = found[..., :BYTES]
        for index, own in self._sums.items():
            shared[..., index] = np.logaddexp.reduce(found[..., own], axis=-1)
        return normalised(shared)


def normalised(found: np.ndarray) -> np.ndarray:
    """Make log probabilities add up to one.

    Args:
        found: [..., n]; where all are minus infinity they stay so.

    Returns:
        [..., n].
    """
    total = np.logaddexp.reduce(found, axis=-1, keepdims=True)
    return found - np.where(np.isfinite(total), total, 0.0)


def role_ids(member: ByteLevelConfig) -> list[int]:
    """Ids of bos and of every eos of a byte-level model.

    Args:
        member: its config.

    Returns:
        Id of bos, and one or more of eos.

    Raises:
        UnsupportedModelError: it names none of either.
    """
    ends = member.end_ids
    if member.bos_token_id is None or not ends:
        raise UnsupportedModelError(
            f"a member names no {'eos' if member.bos_token_id is not None else 'bos'}, which an ensemble needs; set "
            f"{'eos' if member.bos_token_id is not None else 'bos'}_token of its tokenizer and byteify it anew"
        )
    return [member.bos_token_id, *ends]


def ensemble_tokenizer(members: Sequence[ByteLevelForCausalLM]) -> ByteTokenizer:
    """Make the tokenizer of an ensemble: bytes; padding, bos and eos; and what is a marker of all members.

    Args:
        members: byte-level models with their tokenizers.

    Returns:
        The tokenizer.

    Raises:
        UnsupportedModelError: a member names no bos or eos.
    """
    begins, ends, pads = [], [], []
    for config in (member.config for member in members):
        texts = dict(enumerate(config.markers or (), BYTES))
        begin, *end = role_ids(config)
        begins.append(texts[begin])
        ends += [texts[index] for index in end]
        pads += [texts[config.pad_token_id]] if config.pad_token_id is not None else []
    bos = next((text for text in begins if text not in ends), BOS)
    pad = next((text for text in pads if text not in (*begins, *ends)), PAD)
    taken = {bos, pad, *begins, *ends, *pads}
    templates = {str(member.base_tokenizer.chat_template or "") for member in members}
    found = ByteTokenizer(
        pad_token=pad, bos_token=bos, eos_token=ends[0], unk_token=None,
        add_bos_token=all(
            member.base_tokenizer("x").input_ids[:1] == [member.base_tokenizer.bos_token_id] for member in members
        ),
        chat_template=(templates.pop() or None) if len(templates) == 1 else None,
    )  # fmt: skip
    common = [
        AddedToken(text, special=True, normalized=False)
        for text in members[0].view.base.marker_texts
        if text not in taken and all(text in member.view.base.marker_texts for member in members)
    ]
    found.add_tokens(common, special_tokens=True)
    return found
