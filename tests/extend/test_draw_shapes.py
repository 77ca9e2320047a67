"""The worked example of a model that learns a domain, at toy size."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

from hf_tokext.extend import domains_of

SCRIPT = Path(__file__).parents[2] / "scripts" / "examples" / "extend" / "draw_shapes.py"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT's own
@pytest.mark.long
def test_lora_and_trained_rows_and_drawings_that_are_all_well_formed(tmp_path):
    words = [SCRIPT, "--toy", "--steps", "12", "--sequences", "6", "--output", tmp_path / "out"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(float, re.search(r"loss ([\d.]+) at first, ([\d.]+) at last", done.stdout).groups())
    assert last < first and "6 of 6 drawings well-formed" in done.stdout
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "adapter")
    model = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out" / "adapter")
    assert list(domains_of(tokenizer)) == ["svg"] and len(model.get_input_embeddings().weight) >= len(tokenizer)
