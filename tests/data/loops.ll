; Written by hand: loops, phi, a switch, metadata and debug information.
source_filename = "loops.c"
target datalayout = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
target triple = "x86_64-pc-linux-gnu"

@table = private unnamed_addr constant [4 x i32] [i32 -1, i32 20, i32 300, i32 4000], align 16
@text = private unnamed_addr constant [7 x i8] c"%d; \22\0A\00", align 1
@half = global double 5.000000e-01, align 8
@tiny = global double 0x3E112E0BE826D695

define i32 @sum(ptr noundef %numbers, i32 %count) #0 !dbg !4 {
entry:
  %empty = icmp sle i32 %count, 0
  br i1 %empty, label %done, label %loop, !dbg !7

loop:                                             ; preds = %loop, %entry
  %i = phi i32 [ 0, %entry ], [ %next, %loop ]
  %so.far = phi i32 [ 0, %entry ], [ %total, %loop ]
  %place = getelementptr inbounds i32, ptr %numbers, i32 %i
  %number = load i32, ptr %place, align 4, !tbaa !8
  %total = add nsw i32 %so.far, %number
  %next = add nuw nsw i32 %i, 1
  %more = icmp slt i32 %next, %count
  br i1 %more, label %loop, label %done, !llvm.loop !10

done:
  %"the result" = phi i32 [ 0, %entry ], [ %total, %loop ]
  ret i32 %"the result"
}

define i32 @choose(i32 %0) {
  switch i32 %0, label %4 [
    i32 1, label %2
    i32 -12, label %3
  ]

2:
  ret i32 10

3:
  %found = load i32, ptr getelementptr inbounds ([4 x i32], ptr @table, i64 0, i64 2), align 4
  ret i32 %found

4:
  ret i32 0
}

attributes #0 = { nounwind "frame-pointer"="all" "no-such-attribute" }

!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!2, !3}
!0 = distinct !DICompileUnit(language: DW_LANG_C11, file: !1, producer: "by hand", isOptimized: false, emissionKind: FullDebug)
!1 = !DIFile(filename: "loops.c", directory: "/tmp")
!2 = !{i32 2, !"Debug Info Version", i32 3}
!3 = !{i32 1, !"wchar_size", i32 4}
!4 = distinct !DISubprogram(name: "sum", scope: !1, file: !1, line: 3, type: !5, unit: !0, spFlags: DISPFlagDefinition)
!5 = !DISubroutineType(types: !6)
!6 = !{null}
!7 = !DILocation(line: 4, column: 7, scope: !4)
!8 = !{!9, !9, i64 0}
!9 = !{!"int", !11}
!10 = distinct !{!10, !12}
!11 = !{!"root"}
!12 = !{!"llvm.loop.mustprogress"}
