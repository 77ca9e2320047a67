; Written by hand: structs, calls of all kinds, invoke and landing pads, attributes, comdats, vectors, atomics.
source_filename = "calls.cpp"
target triple = "x86_64-pc-linux-gnu"

%struct.node = type { i32, ptr, [3 x i16] }
%"class.std::pair" = type <{ i8, i64 }>
%opaque = type opaque

$shared = comdat any

@first = internal global %struct.node { i32 7, ptr null, [3 x i16] zeroinitializer }, comdat($shared), align 8
@"a name" = external thread_local(initialexec) global i128
@other = alias i32, ptr @first

declare i32 @__gxx_personality_v0(...)
declare void @may_throw(ptr noalias readonly %ignored, i32 signext)
declare double @llvm.sqrt.f64(double) #1
declare i64 @llvm.read_register.i64(metadata)

@big = global i128 340282366920938463463374607431768211455

define linkonce_odr void @shared(ptr sret(%struct.node) align 8 %out, %"class.std::pair" %pair) comdat personality ptr @__gxx_personality_v0 {
  %1 = extractvalue %"class.std::pair" %pair, 1
  %2 = trunc i64 %1 to i32
  invoke void @may_throw(ptr %out, i32 signext %2)
          to label %fine unwind label %wrong

fine:
  %field = getelementptr inbounds %struct.node, ptr %out, i32 0, i32 1
  store ptr @first, ptr %field, align 8
  ret void

wrong:
  %pad = landingpad { ptr, i32 }
          cleanup
          catch ptr null
  resume { ptr, i32 } %pad
}

define fastcc <4 x float> @vectors(<4 x float> %a, <4 x i1> %mask) #0 {
start:
  %b = fadd fast <4 x float> %a, <float 1.000000e+00, float 2.5e-1, float 0x7FF8000000000000, float -0.000000e+00>
  %c = select <4 x i1> %mask, <4 x float> %a, <4 x float> %b
  %d = shufflevector <4 x float> %c, <4 x float> poison, <4 x i32> <i32 3, i32 2, i32 1, i32 0>
  ret <4 x float> %d
}

define i32 @atomics(ptr %p, i32 %v) {
  %old = atomicrmw add ptr %p, i32 %v syncscope("singlethread") seq_cst, align 4
  %pair = cmpxchg weak volatile ptr %p, i32 %old, i32 340 acq_rel monotonic, align 4
  %ok = extractvalue { i32, i1 } %pair, 1
  fence acquire
  %root = tail call double @llvm.sqrt.f64(double 2.000000e+00)
  %stack = call i64 @llvm.read_register.i64(metadata !0)
  call void asm sideeffect "nop # $0", "r,~{memory}"(i32 %v) #1
  %r = zext i1 %ok to i32
  ret i32 %r
}

attributes #0 = { noinline optnone uwtable memory(argmem: read) }
attributes #1 = { nounwind }

!0 = !{!"rsp"}
