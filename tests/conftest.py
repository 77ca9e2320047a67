"""What holds for all tests: a cache of their own for the code of checkpoints, and garbage collections that are quick."""

import gc
import os
import tempfile

# transformers copies the code of checkpoints that it loads into a cache: one of this run, never the user's.
# It reads the variable when it is imported, and child processes inherit it.
_CACHE = tempfile.TemporaryDirectory(prefix="hf_tokext-modules-")
os.environ["HF_MODULES_CACHE"] = _CACHE.name


def pytest_collection_finish(session):
    """Leave what all imports made out of garbage collections, of which each training run asks for many: half a second each."""
    gc.collect()
    gc.freeze()
