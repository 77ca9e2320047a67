"""transformers copies the code of checkpoints that it loads into a cache: one of this run, never the user's."""

import os
import tempfile

# transformers reads the variable when it is imported, and child processes inherit it
_CACHE = tempfile.TemporaryDirectory(prefix="hf_tokext-modules-")
os.environ["HF_MODULES_CACHE"] = _CACHE.name
