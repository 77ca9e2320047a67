"""Texts with images, sounds and depth maps in them become ids, and ids become texts and codes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BatchFeature
from transformers.utils.generic import to_py_obj

from hf_tokext.errors import ModalityError, VocabularyError
from hf_tokext.models.blocks.processor import InstalledProcessor
from hf_tokext.models.multimodal.chat import flattened
from hf_tokext.models.multimodal.extractors import extract, extractor_of, lengths_of, names_of
from hf_tokext.models.multimodal.id_rows import LEFT_OUT, Parts, cut_row, pad_rows, take_apart
from hf_tokext.models.multimodal.placeholders import check_count, flat_values
from hf_tokext.vocabulary.spaces import Spaces

ALIASES = {"images": "image", "audio": "audio"}  # what upstream's pipelines call them, and the modality that is meant
CALL = ("padding", "truncation", "max_length", "sampling_rate", "return_tensors")  # what is no business of a template


class MultimodalProcessor(InstalledProcessor):
    """Makes the inputs of a `MultimodalForCausalLM`, and reads what it writes.

    A text has a placeholder such as <|image|> where an image stands. Here it becomes a start marker, as many placeholders as
    the image will have codes, and an end marker; the model puts the codes there.

    Args:
        tokenizer: of an extended model; it keeps which ids the codes have.
        extractors: by modality, the image processor or feature extractor of its codec, or its settings.
        chat_template: of the tokenizer, if not its own.
        **kwargs: as for any processor of transformers.

    Raises:
        VocabularyError: the tokenizer has no modalities, or texts with ids of codes.
        ModalityError: there are extractors of other modalities.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        extractors: Mapping[str, Any] | None = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.extractors = {
            name: given if isinstance(given, dict) else given.to_dict() for name, given in (extractors or {}).items()
        }
        super().__init__(tokenizer, chat_template=chat_template, **kwargs)
        self.spaces = Spaces.read(tokenizer).codes
        if set(self.spaces) != set(self.extractors):
            raise ModalityError(
                f"the tokenizer has the modalities {sorted(self.spaces)}, and there are extractors of {sorted(self.extractors)}"
            )
        inside = [(index, text) for text, index in tokenizer.get_vocab().items() if self._code_at(index)]
        if inside:
            index, text = min(inside)
            raise VocabularyError(
                f"token {text!r} has id {index}, which is that of a code: add tokens to the tokenizer before its model is "
                "extended by modalities"
            )

    def _code_at(self, index: int) -> bool:
        return any(index in space and not space.is_continuous for space in self.spaces.values())

    def __call__(  # type: ignore[override]
        self,
        text: str | Sequence[str] | None = None,
        *,
        answers: str | Sequence[str] | None = None,
        codes: Mapping[str, Sequence[Tensor]] | None = None,
        padding: bool | str = True,
        truncation: bool = False,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        **values: Any,
    ) -> BatchFeature:
        """Encode a batch.

        Args:
            text: one per row, with a placeholder for each thing that stands in it; alone it is a prompt.
            answers: one per row, what the model is to write after the text; they may have placeholders too, whose codes are
                learnt. With them there are labels.
            codes: by modality, codes [codebooks, T] in place of values, as of a data set that was encoded before.
            padding: bring rows to one length, on the tokenizer's `padding_side`; "max_length", to that one.
            truncation: cut longer rows to `max_length`, but through no modality.
            max_length: ids that a row may have.
            add_special_tokens: those that the tokenizer puts before a text; after an answer comes the end of text.
            **values: by modality (or `images` and `audio` where one has that kind), all that stands in the batch, in
                order: one list, or a list per row; and `sampling_rate` of sounds.

        Returns:
            `input_ids` and `attention_mask` [B, T], `labels` [B, T] with answers (-100 where nothing is learnt), and what
            the codecs take, such as `image_pixel_values`.

        Raises:
            ModalityError: there are more or fewer placeholders than values, one would be cut, or a row is too long.
            CodecError: a value cannot be read.
            VocabularyError: codes do not fit.
        """
        prompts = [text] if isinstance(text, str) else list(text or ())
        wanted = [answers] if isinstance(answers, str) else None if answers is None else list(answers)
        if not prompts or (wanted is not None and len(wanted) != len(prompts)):
            raise ModalityError(f"give one text per row, and one answer if any: {len(prompts)} and {len(wanted or ())}")
        rate = values.pop("sampling_rate", None)
        values.pop("return_tensors", None)
        texts = [prompts] if wanted is None else [prompts, wanted]
        given = {name: flat_values(self.spaces[name], each, texts) for name, each in self._by_space(values).items()}
        found: dict[str, Any] = {}
        waiting: dict[str, list[Any]] = {}  # of each document to come: how many ids, or the ids themselves
        for name, space in self.spaces.items():
            coded = list((codes or {}).get(name, ()))
            if coded and name in given:
                raise ModalityError(f"{name!r} is given as values and as codes; give one of them")
            waiting[name] = [space.to_ids(_as_codes(name, each)).tolist() for each in coded]
            if given.get(name):
                batch = extract(self.extractors[name], given[name], rate)
                waiting[name] = [[space.placeholder] * length for length in lengths_of(space, batch, len(given[name]))]
                found |= {f"{name}_{key}": value for key, value in batch.items()}
        unknown = set(codes or {}) - set(self.spaces)
        if unknown:
            raise ModalityError(f"there is no modality {min(unknown)!r}; there are: {', '.join(self.spaces) or 'none'}")
        for name, space in self.spaces.items():
            check_count(space, len(waiting[name]), texts)
        rows = []
        for number, prompt in enumerate(prompts):
            ids = self._ids(prompt, waiting, add_special_tokens)
            labels = [LEFT_OUT] * len(ids)
            if wanted is not None:
                end = self.tokenizer.eos_token_id
                written = [*self._ids(wanted[number], waiting, False), *([] if end is None else [end])]
                ids, labels = ids + written, labels + written
            if not ids:
                raise ModalityError(f"row {number} is empty; begin with the text of the bos token, or with any other")
            rows.append(cut_row(ids, labels, number, self.spaces, truncation, max_length))
        return BatchFeature(
            {**pad_rows(rows, self.tokenizer, padding, wanted is not None, max_length), **found}, tensor_type=None
        )

    def _by_space(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values by the names of spaces."""
        found: dict[str, Any] = {}
        for key, given in values.items():
            if given is None:
                continue
            names = [name for name, space in self.spaces.items() if space.modality == ALIASES.get(key)]
            if key not in self.spaces and len(names) != 1:
                kinds = ", ".join(self.spaces) or "none"
                raise ModalityError(f"{key!r} is no argument, and names no one modality; there are: {kinds}")
            name = key if key in self.spaces else names[0]
            if name in found:
                raise ModalityError(f"{name!r} is given twice, as {key!r} too")
            found[name] = given
        return found

    def _ids(self, text: str, waiting: dict[str, list[Any]], special: bool) -> list[int]:
        """Ids of a text, with what is waiting put in place of its placeholders, in order."""
        by_placeholder = {space.placeholder: space for space in self.spaces.values()}
        ids: list[int] = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        if special and ids and ids[-1] == self.tokenizer.eos_token_id and not text.endswith(self.tokenizer.eos_token):
            ids = ids[:-1]  # the text goes on
        found: list[int] = []
        for index in ids:
            space = by_placeholder.get(index)
            found += [index] if space is None else [space.start, *waiting[space.name].pop(0), space.end]
        return found

    def parts(self, ids: Any, skip_special_tokens: bool = True) -> Parts:
        """Take a row of ids apart.

        Args:
            ids: [T], as `generate` gives them; a document that was cut off is left out.
            skip_special_tokens: as for the tokenizer's `decode`.

        Returns:
            Its text, and the codes in it.

        Raises:
            ModalityError: there are several rows.
        """
        row = to_py_obj(ids)
        if not isinstance(row, list) or any(isinstance(each, list) for each in row):
            raise ModalityError("parts takes the ids of one row; call it with each row of a batch")
        return take_apart(row, self.spaces, self.tokenizer, skip_special_tokens)

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> Any:
        """Give the text of ids, with a placeholder where codes stand.

        Args:
            token_ids: an id, [T] ids, or [B, T].
            skip_special_tokens: as for the tokenizer.
            **kwargs: taken for compatibility.

        Returns:
            The text, or one per row.
        """
        rows = to_py_obj(token_ids)
        if isinstance(rows, list) and rows and isinstance(rows[0], list):
            return self.batch_decode(rows, skip_special_tokens)
        return self.parts(rows if isinstance(rows, list) else [rows], skip_special_tokens).text

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **kwargs: Any) -> list[str]:
        """Give the texts of rows, with a placeholder where codes stand.

        Args:
            sequences: [B, T] ids.
            skip_special_tokens: as for the tokenizer.
            **kwargs: taken for compatibility.

        Returns:
            One text per row.
        """
        return [self.parts(row, skip_special_tokens).text for row in to_py_obj(sequences)]

    def post_process_image_text_to_text(  # type: ignore[override]
        self, generated_outputs: Any, skip_special_tokens: bool = True, **kwargs: Any
    ) -> list[str]:
        """Give the texts of rows; upstream's pipelines call it.

        Args:
            generated_outputs: [B, T] ids.
            skip_special_tokens: as for the tokenizer.
            **kwargs: taken for compatibility.

        Returns:
            One text per row.
        """
        return self.batch_decode(generated_outputs, skip_special_tokens)

    def post_process(self, name: str, values: Tensor) -> Any:
        """Make images, depth maps or sounds of what `decode_modality` gives.

        Args:
            name: of the modality.
            values: [B, ...].

        Returns:
            PIL images, arrays of depth, or arrays of samples, in a list.

        Raises:
            ModalityError: there is no such modality.
        """
        if name not in self.extractors:
            raise ModalityError(f"there is no modality {name!r}; there are: {', '.join(self.extractors) or 'none'}")
        extractor = extractor_of(self.extractors[name])
        if hasattr(extractor, "post_process"):
            return list(extractor.post_process(values))
        return [each.reshape(-1).float().cpu().numpy() for each in values]

    def apply_chat_template(self, conversation: Any, chat_template: str | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """Write a conversation as the tokenizer's template says, with what stands in it.

        Args:
            conversation: messages, or a list of conversations; a content is a text, or a list of
                {"type": "text", "text": ...} and {"type": modality, modality: value}. The kinds "image" and "audio" stand
                for the one modality of that kind; a value may be called "path" too.
            chat_template: in place of the tokenizer's.
            **kwargs: as for the tokenizer's; with `tokenize=True` and `return_dict=True` all is encoded, with `padding`,
                `sampling_rate` and the like, or what `processor_kwargs` has of them.

        Returns:
            The text, or what a call gives.

        Raises:
            ModalityError: a content is of no kind that is known here.
        """
        tokenize, as_dict = kwargs.pop("tokenize", False), kwargs.pop("return_dict", False)
        how = {"add_special_tokens": False, **(kwargs.pop("processor_kwargs", None) or {})}
        how |= {key: kwargs.pop(key) for key in CALL if key in kwargs}
        several = bool(conversation) and isinstance(conversation[0], list | tuple)
        plain, values = flattened(list(conversation) if several else [conversation], self.spaces)
        template = chat_template or self.chat_template
        texts = [
            self.tokenizer.apply_chat_template(each, chat_template=template, tokenize=False, **kwargs) for each in plain
        ]
        if not tokenize:
            return texts if several else texts[0]
        found = self(texts, **how, **values)
        return found if as_dict else found["input_ids"]

    @property
    def model_input_names(self) -> list[str]:
        """Names of what a call gives."""
        more = [f"{name}_{key}" for name, given in self.extractors.items() for key in names_of(given)]
        return ["input_ids", "attention_mask", *more]


def _as_codes(name: str, given: Any) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModalityError(
            f"codes of {name!r} are given in one list, of all rows one after another, each [codebooks, T]; one is a "
            f"{type(given).__name__} that is no such table ({error})"
        ) from error
