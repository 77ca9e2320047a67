"""Every kind of tokenizer that the package hands out, as an object and as the folder that a user gets."""

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from hf_tokext import ByteTokenizer, GlyphTokenizer, transplant_tokenizer
from hf_tokext.vocabulary.pieces import TOKENIZER_FILE
from tests.ecosystem.checkpoints import RIVERS
from tests.tiny_models import tiny, tiny_config
from tests.tokenizers import byte_level
from tests.transplant.sentencepiece_like import sentencepiece_like

TEXTS = [
    "the rivers and the boats",
    "",
    " ",
    "  two  spaces \t tab\r\n\r\n  indented\n",
    "1234567890 3.14159 1,000,000 0x1F",
    "don't WE'LL it's I've e\u0301 \ufb01 \u200b\ufeff \U0001f642\U0001f468\u200d\U0001f469",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u05e9\u05dc\u05d5\u05dd \u0939\u093f\u0928\u094d\u0926\u0940 \ud55c\uad6d\uc5b4",
    "a bridge</s> and <s>",
    "x" * 70,
]
TEMPLATE = "{% for m in messages %}{{ bos_token }}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
MAKERS = {"bytes": ByteTokenizer, "glyph": GlyphTokenizer}
DONORS = {"byte_level": lambda: byte_level(310, text=RIVERS), "sentencepiece": sentencepiece_like}
ARCHITECTURES = ("llama", "qwen2", "gpt2")
CASES = [
    *MAKERS,
    "bytes beside qwen2",
    "bytes beside mistral",  # one of those types for which transformers loses classes without an auto_map
    *(f"{donor} on {architecture}" for donor in DONORS for architecture in ARCHITECTURES),
]


@dataclass(frozen=True)
class Case:
    """A tokenizer, and the folder that it was saved to."""

    name: str
    tokenizer: PreTrainedTokenizerBase
    folder: Path

    def load(self, **options: str) -> PreTrainedTokenizerBase:
        """What a user gets; a test may change it."""
        return AutoTokenizer.from_pretrained(self.folder, **options)

    @property
    def trains(self) -> bool:
        """Whether its ids are learnt from text."""
        return self.name.split()[0] not in MAKERS


def make(name: str, folder: Path) -> Case:
    """Make one of `CASES`: with a pad token and a chat template, saved as a user would."""
    kind, _, where = name.partition(" ")
    architecture = where.rpartition(" ")[2]
    if kind in MAKERS:
        tokenizer: PreTrainedTokenizerBase = MAKERS[kind]()
        if architecture == "mistral":
            folder.mkdir(exist_ok=True)
            (folder / "config.json").write_text('{"model_type": "mistral"}')
        elif architecture:
            tiny_config(architecture, tied=True, vocab_size=len(tokenizer)).save_pretrained(folder)
    else:
        base = tiny(architecture, vocab_size=300)
        model, tokenizer, _ = transplant_tokenizer(base, byte_level(300), DONORS[kind](), calibrate=False)
        model.save_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    assert (folder / TOKENIZER_FILE).is_file()
    return Case(name, tokenizer, folder)


def ids(tokenizer, text, **options):
    """Ids of a text or a batch."""
    return tokenizer(text, **options)["input_ids"]


def bare(tokenizer, text):
    """Ids without special tokens."""
    return ids(tokenizer, text, add_special_tokens=False)
