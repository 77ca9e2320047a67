"""A processor with a tokenizer of texts that has learnt molecules, and ends its rows as T5's does."""

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from hf_tokext.extend import extend_model
from hf_tokext.models.molecule.processing_molecule import MoleculeProcessor
from tests.tiny_models import tiny
from tests.tokenizers import byte_level

WORDS = "the cat sat"
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def extended(name="t5"):
    """A tiny model and its tokenizer, extended by molecules."""
    tokenizer = byte_level(300)
    tokenizer._tokenizer.post_processor = TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    tokenizer.add_tokens([f"<extra_{number}>" for number in range(10)], special_tokens=True)
    model = tiny(name, vocab_size=len(tokenizer), dtype=torch.float32)
    model, tokenizer, _ = extend_model(model, tokenizer, ["molecule"], calibrate=False)
    return model.eval(), tokenizer


@pytest.fixture(scope="session")
def t5():
    return extended()


@pytest.fixture
def processor(t5):
    return MoleculeProcessor(t5[1], seed=3)
