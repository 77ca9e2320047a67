"""Tiny tokenizers made on the spot."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = "the cat sat on the mat and the dog sat on the log; " * 6 + "a bee and a bird flew over the hill.\n" * 6


def byte_level(vocab_size: int = 290, text: str = TEXT, **roles: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE that gives every text back; 0 <pad>, 1 <s>, 2 </s>."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        [text],
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<pad>", "<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    roles = roles or {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, **roles)


def words(**roles: str) -> PreTrainedTokenizerFast:
    """A tokenizer that knows four words and calls all else unknown."""
    core = Tokenizer(
        models.WordLevel({"<unk>": 0, "<s>": 1, "the": 2, "cat": 3, "sat": 4, "mat": 5}, unk_token="<unk>")
    )
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", **roles)
