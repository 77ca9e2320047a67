"""What LLVM IR is registered under."""

from transformers import PreTrainedConfig


class LLVMIRConfig(PreTrainedConfig):
    """The key that `LLVMIRTokenizer` is registered with AutoTokenizer under; it describes no model."""

    model_type = "tokext_llvm_ir"
