"""Every error that the package raises on purpose; each message says what was wrong, where, and what to do."""


class TokextError(Exception):
    """Base of all errors of hf_tokext."""


class VocabularyError(TokextError, ValueError):
    """A tokenizer cannot be read, or its ids and pieces contradict each other."""


class CheckpointError(TokextError, ValueError):
    """A checkpoint folder is missing something, is damaged, or is of a kind that is not edited."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint would run code (pickled weights) or reaches outside its folder."""


class QuantizedCheckpointError(CheckpointError):
    """The base's weights are quantized, so rows cannot be computed or written."""


class UnsupportedModelError(TokextError, ValueError):
    """The model is of a kind that the requested operation does not know."""


class RowMethodError(TokextError, ValueError):
    """A row method is unknown, lacks something it needs, or got wrong shapes."""


class RegistrationError(TokextError, ValueError):
    """A class cannot be registered with transformers' Auto classes, because its name or model type is taken."""


class OutputExistsError(TokextError, FileExistsError):
    """The output folder exists and overwriting was not asked for."""


class HubError(TokextError, RuntimeError):
    """The Hub refused what was asked of it."""


class HubTokenError(HubError):
    """The access token is missing, or the Hub does not know it."""


class HubReadOnlyError(HubError):
    """The access token is good, but may not write to the repository or under that name."""


class RepositoryClashError(HubError):
    """The repository holds something that a push would destroy, or that came in between."""


class HubUnavailableError(HubError):
    """The Hub cannot be reached, hung up, or failed at every attempt."""


class VerificationError(TokextError, RuntimeError):
    """The finished checkpoint failed one of its proofs."""


class TextError(TokextError, ValueError):
    """The given text is empty, unreadable or not UTF-8."""


class FontError(TokextError, ValueError):
    """A font file is missing, damaged, of no known kind, or too small."""


class QuantizerError(TokextError, ValueError):
    """A quantizer is unknown or impossible, or vectors or codes do not fit it."""


class CodecError(TokextError, ValueError):
    """Values or codes do not fit a codec, or a folder holds none."""


class ModalityError(TokextError, ValueError):
    """Text and what stands in it do not fit each other, or a codec is not the one that a language model has learnt."""


class CurriculumError(TokextError, ValueError):
    """A curriculum is impossible, or its rows were taken out of their order."""


class MissingExtraError(TokextError, ImportError):
    """An optional dependency is needed; the message names the extra to install."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: pip install 'hf-tokext[{extra}]'")
        self._given = (package, extra, purpose)

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str, str]]:
        """So that it comes whole out of another process."""
        return type(self), self._given
