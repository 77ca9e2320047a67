"""A tokenizer of LLVM IR."""

from hf_tokext.models.blocks.domain_tokenizer import DomainTokenizer
from hf_tokext.models.llvm_ir.domain import LLVMIRDomain


class LLVMIRTokenizer(DomainTokenizer):
    """Reads LLVM IR, and writes it with whole lexemes and paired brackets whatever ids it is given; see `LLVMIRDomain`."""

    domain_class = LLVMIRDomain
