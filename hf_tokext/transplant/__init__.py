"""Another tokenizer for a pretrained model: plan, tables, checkpoint, proofs, report."""

from typing import Any

__all__ = ["Plan", "Report", "make_plan", "transplant_checkpoint", "transplant_tokenizer", "verify_checkpoint"]

_MODULES = {
    "Plan": "plan",
    "Report": "report",
    "make_plan": "plan",
    "transplant_checkpoint": "streamed",
    "transplant_tokenizer": "in_memory",
    "verify_checkpoint": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
