; ModuleID = 'strings'
; Written by hand: many locals, quoted labels, addresses of blocks, inline assembly.
source_filename = "strings.c"

module asm ".globl here"

@targets = constant [2 x ptr] [ptr blockaddress(@jump, %one), ptr blockaddress(@jump, %"block two")]
@empty = constant [1 x i8] c"\00"
@words = constant [12 x i8] c"caf\C3\A9 {([<\00\01"

define void @jump(i64 %which) {
  %place = getelementptr [2 x ptr], ptr @targets, i64 0, i64 %which
  %target = load ptr, ptr %place
  indirectbr ptr %target, [label %one, label %"block two"]

one:
  br label %"block two"

"block two":
  musttail call void @jump(i64 %which)
  ret void
}

define i8 @same(ptr %p) {
  %v = load i8, ptr %p
  %w = mul i8 %v, 3
  ret i8 %w
}

define i8 @again(ptr %0) {
  %2 = load i8, ptr %0, !note !0
  %3 = mul i8 %2, 3
  ret i8 %3
}

!0 = !{}
