"""Another tokenizer for a pretrained model: plan, tables, checkpoint, proofs, report."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_tokext.transplant.in_memory import transplant_tokenizer
    from hf_tokext.transplant.plan import Plan, make_plan
    from hf_tokext.transplant.report import Report
    from hf_tokext.transplant.streamed import transplant_checkpoint
    from hf_tokext.transplant.verify import verify_checkpoint

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
