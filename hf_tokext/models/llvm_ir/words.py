"""Words of LLVM IR that have tokens of their own: opcodes, types, attributes, keywords of the language reference."""


def _listed(words: str) -> list[str]:
    return words.split()


OPCODES = {
    "ret": "return", "br": "branch", "switch": "switch between cases", "indirectbr": "indirect branch",
    "invoke": "call that may throw", "callbr": "call that may branch", "resume": "resume an exception",
    "catchswitch": "switch between exception handlers", "catchret": "return from a catch",
    "cleanupret": "return from a cleanup", "unreachable": "unreachable code", "fneg": "negate a float",
    "add": "add integers", "fadd": "add floats", "sub": "subtract integers", "fsub": "subtract floats",
    "mul": "multiply integers", "fmul": "multiply floats", "udiv": "divide unsigned integers",
    "sdiv": "divide signed integers", "fdiv": "divide floats", "urem": "remainder of unsigned integers",
    "srem": "remainder of signed integers", "frem": "remainder of floats", "shl": "shift left",
    "lshr": "logical shift right", "ashr": "arithmetic shift right", "and": "bitwise and", "or": "bitwise or",
    "xor": "bitwise exclusive or", "extractelement": "extract an element of a vector",
    "insertelement": "insert an element into a vector", "shufflevector": "shuffle vectors",
    "extractvalue": "extract a field of a struct", "insertvalue": "insert a field into a struct",
    "alloca": "allocate on the stack", "load": "load from memory", "store": "store to memory",
    "fence": "memory fence", "cmpxchg": "compare and exchange", "atomicrmw": "atomic read, modify, write",
    "getelementptr": "address of an element", "trunc": "truncate an integer", "zext": "zero extend an integer",
    "sext": "sign extend an integer", "fptrunc": "truncate a float", "fpext": "extend a float",
    "fptoui": "float to unsigned integer", "fptosi": "float to signed integer",
    "uitofp": "unsigned integer to float", "sitofp": "signed integer to float", "ptrtoint": "pointer to integer",
    "ptrtoaddr": "pointer to address", "inttoptr": "integer to pointer", "bitcast": "reinterpret bits",
    "addrspacecast": "change the address space", "icmp": "compare integers", "fcmp": "compare floats",
    "phi": "choose by the previous block", "select": "choose by a condition", "freeze": "freeze a value",
    "call": "call a function", "va_arg": "next variable argument", "landingpad": "landing pad of exceptions",
    "catchpad": "catch an exception", "cleanuppad": "clean up after an exception",
}  # fmt: skip

TYPES = {
    "void": "no value", "half": "16-bit float", "bfloat": "brain float", "float": "32-bit float",
    "double": "64-bit float", "fp128": "128-bit float", "x86_fp80": "80-bit float", "ppc_fp128": "pair of doubles",
    "x86_amx": "matrix tile", "ptr": "pointer", "label": "label", "token": "token", "metadata": "metadata",
    "opaque": "opaque type", "type": "type", "target": "target",
    **{f"i{bits}": f"{bits}-bit integer" for bits in (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512)},
}  # fmt: skip

KEYWORDS = _listed("""
define declare module asm source_filename triple datalayout attributes global constant alias ifunc comdat section
partition align addrspace unnamed_addr local_unnamed_addr thread_local localdynamic initialexec localexec gc prefix
prologue personality to unwind caller from within catch cleanup filter none true false null undef poison zeroinitializer
private internal available_externally linkonce linkonce_odr weak weak_odr common appending extern_weak external
dllimport dllexport default hidden protected dso_local dso_preemptable externally_initialized any exactmatch largest
nodeduplicate samesize ccc fastcc coldcc cfguard_checkcc ghccc webkit_jscc anyregcc preserve_mostcc preserve_allcc
preserve_nonecc swiftcc swifttailcc tailcc cxx_fast_tlscc x86_stdcallcc x86_fastcallcc x86_thiscallcc x86_regcallcc
x86_vectorcallcc x86_intrcc win64cc x86_64_sysvcc arm_apcscc arm_aapcscc arm_aapcs_vfpcc aarch64_vector_pcs
amdgpu_kernel amdgpu_vs amdgpu_ls amdgpu_hs amdgpu_es amdgpu_gs amdgpu_ps amdgpu_cs amdgpu_cs_chain
amdgpu_cs_chain_preserve amdgpu_gfx aarch64_sve_vector_pcs avr_intrcc avr_signalcc msp430_intrcc intel_ocl_bicc hhvmcc hhvm_ccc
m68k_rtdcc graalcc riscv_vector_cc c ptx_kernel ptx_device spir_func spir_kernel cc tail musttail notail nuw nsw exact inbounds
nusw inrange disjoint samesign nneg fast nnan ninf nsz arcp contract reassoc afn volatile atomic unordered monotonic
acquire release acq_rel seq_cst syncscope weak xchg nand max min umax umin fmax fmin fmaximum fminimum uinc_wrap udec_wrap usub_cond usub_sat
eq ne ugt uge ult ule sgt sge slt sle oeq ogt oge olt ole one ord ueq une uno sideeffect alignstack inteldialect
unwind blockaddress dso_local_equivalent no_cfi splat ptrauth x vscale inalloca swifterror uselistorder uselistorder_bb
distinct code_model sanitize_address_dyninit no_sanitize_address no_sanitize_hwaddress
""")

ATTRIBUTES = _listed("""
alwaysinline allockind allocsize allocalign allocptr argmemonly byref byval builtin captures cold convergent
coro_only_destroy_when_complete dead_on_unwind dead_on_return dereferenceable dereferenceable_or_null disable_sanitizer_instrumentation
elementtype fn_ret_thunk_extern hot hybrid_patchable immarg inaccessiblememonly inaccessiblemem_or_argmemonly initializes inlinehint
inreg jumptable memory minsize mustprogress naked nest noalias nobuiltin nocallback nocapture nocf_check nocreateundeforpoison
nodivergencesource noduplicate noext nofpclass nofree noimplicitfloat noinline nomerge nonlazybind nonnull noprofile
norecurse noredzone noreturn nosanitize_bounds nosanitize_coverage nosync noundef nounwind null_pointer_is_valid optdebug
optforfuzzing optnone optsize preallocated presplitcoroutine range read readnone readonly readwrite returned returns_twice
safestack sanitize_address sanitize_hwaddress sanitize_memory sanitize_memtag sanitize_numerical_stability
sanitize_realtime sanitize_thread shadowcallstack signext skipprofile speculatable speculative_load_hardening sret ssp
sspreq sspstrong strictfp swiftasync swiftself uwtable sync async vscale_range willreturn writable write writeonly zeroext
argmem inaccessiblemem errnomem address address_is_null provenance read_provenance
nan snan qnan inf pinf norm nnorm pnorm nsub psub zero nzero pzero
""")

FIELDS = _listed("""
align allocated alignment annotations arg associated attributes baseType cc checksum checksumkind class column configMacros containingType
count dataLocation debugInfoForProfiling declaration defaulted directory discriminator dwarfAddressSpace dwoId elements
emissionKind encoding entity enums exportSymbols expr extraData file filename flags fragment getter globals header identifier
imports includePath inlinedAt isDefinition isLocal isOptimized isUnsigned language line linkageName lowerBound macros name nameTableKind
nodes offset operands producer ptrAuthKey rangesBaseAddress rank retainedNodes retainedTypes runtimeLang runtimeVersion
scope scopeLine sdk setter size source spFlags splitDebugFilename splitDebugInlining stride sysroot tag targetFuncName
templateParams thisAdjustment thrownTypes type types unit upperBound value var virtualIndex virtuality vtableHolder
entry
""")

METADATA = _listed("""
dbg tbaa tbaa.struct prof range llvm.loop llvm.access.group llvm.mem.parallel_loop_access nonnull noundef align
alias.scope noalias dereferenceable dereferenceable_or_null invariant.load invariant.group unpredictable nontemporal nosanitize srcloc
heapallocsite callees annotation type vcall_visibility associated callback absolute_symbol kcfi_type memprof callsite
section_prefix fpmath irr_loop llvm.preserve.access.index make.implicit mmra exclude pcsections DIAssignID func_sanitize coro.outside.frame llvm.module.flags llvm.ident llvm.dbg.cu
llvm.linker.options llvm.commandline llvm.dependent-libraries opencl.ocl.version DILocation DISubprogram DILocalVariable DIGlobalVariable
DIGlobalVariableExpression DIExpression DIBasicType DIDerivedType DICompositeType DISubroutineType DIFile
DICompileUnit DILexicalBlock DILexicalBlockFile DINamespace DIModule DITemplateTypeParameter DITemplateValueParameter
DIImportedEntity DILabel DISubrange DIGenericSubrange DIEnumerator DIMacro DIMacroFile DICommonBlock DIStringType
DIObjCProperty DIArgList GenericDINode
""")

RECORDS = ["#dbg_value", "#dbg_declare", "#dbg_assign", "#dbg_label"]

# What compilers write as strings, of attributes and module flags mostly.
QUOTED = _listed("""
frame-pointer all non-leaf none min-legal-vector-width no-trapping-math stack-protector-buffer-size target-cpu x86-64
target-features tune-cpu generic no-builtins no-jump-tables no-inline-line-tables probe-stack inline-asm true false 0 8
no-infs-fp-math no-nans-fp-math no-signed-zeros-fp-math unsafe-fp-math approx-func-fp-math less-precise-fpmad
strictfp denormal-fp-math patchable-function alloc-family malloc disable-tail-calls use-soft-float wchar_size uwtable frame-pointer
branch-weights branch_weights function_entry_count unknown llvm.loop.mustprogress llvm.loop.unroll.disable
llvm.loop.vectorize.width llvm.loop.isvectorized llvm.loop.unroll.runtime.disable llvm.loop.peeled.count VP int long
char short float double any&#32;pointer omnipotent&#32;char Simple&#32;C/C++&#32;TBAA Simple&#32;C++&#32;TBAA long&#32;long bool
PIC&#32;Level PIE&#32;Level Debug&#32;Info&#32;Version Dwarf&#32;Version RtLibUseGOT x86_64-pc-linux-gnu x86_64-unknown-linux-gnu
+cx8,+fxsr,+mmx,+sse,+sse2,+x87 +cx8,+mmx,+sse,+sse2,+x87 align deopt nonnull noundef ~{dirflag},~{fpsr},~{flags}
tiny small kernel medium large singlethread alloc,uninitialized alloc,zeroed free realloc
e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-f80:128-n8:16:32:64-S128
e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128
""")

PUNCTUATION = [",", "=", "*", ":", "!", "...", "(", ")", "[", "]", "{", "}", "<", ">", "|"]


def lexemes_with_tokens() -> list[str]:
    """Every lexeme that is a token by itself, in the order of their indices."""
    strings = [f'"{text.replace("&#32;", " ")}"' for text in QUOTED]
    words = [*OPCODES, *TYPES, *KEYWORDS, *ATTRIBUTES, *(f"{field}:" for field in FIELDS)]
    marked = [*(f"!{name}" for name in METADATA), *RECORDS, *strings]
    return list(dict.fromkeys([*PUNCTUATION, *words, *marked]))
