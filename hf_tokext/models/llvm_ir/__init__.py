"""LLVM IR as tokens."""

from hf_tokext.registry import register_family

HERE = "hf_tokext.models.llvm_ir"

register_family(
    f"{HERE}.configuration_llvm_ir:LLVMIRConfig",
    tokenizer=f"{HERE}.tokenization_llvm_ir:LLVMIRTokenizer",
    tokenizer_only=True,
)
