# What exceptions look like, in 32-bit protected mode with paging: for each event a line with vector, error code, where, EFLAGS, CS, CR2 or
# DR6, as the SDM has it: tests/boot/exceptions.txt. The exit status is 33.
#
# Memory: the image is copied to IMAGE, where it is linked. Faults go on at `resume`, with the stack as it was; #DB, #BP and #OF return.
    .set IMAGE, 0x10000
    .set DIRECTORY, 0x50000
    .set TABLE, 0x51000
    .set TSS, 0x52000
    .set TSS2, 0x53000
    .set STACK, 0x90000
    .set TASK_STACK, 0x94000
    .set USER_STACK, 0x98000
    .set INNER_STACK, 0x9c000
    .set DATA, 0x200000
    .set WINDOW, 0x40000000         # pages: ordinary, read-only, none, the supervisor's
    .set KERNEL_CODE, 0x08
    .set KERNEL_DATA, 0x10
    .set USER_CODE, 0x1b
    .set USER_DATA, 0x23
    .set FLAGS_SHOWN, 0x37700       # VM RF NT IOPL DF IF TF

    .macro say text
    movl $t\@, %esi
    jmp u\@
t\@: .asciz "\text"
u\@: call print
    .endm
    # A test begins; the next fault goes on at `next`. Addresses are printed from here on.
    .macro test text, next
    say "\text\n"
    movl $\next, resume
    movl %esp, saved_esp
    movl $o\@, origin
o\@:
    .endm
    # Another event of the same test.
    .macro again next
    movl $\next, resume
    movl $o\@, origin
o\@:
    .endm
    .macro user to
    pushl $USER_DATA
    pushl $USER_STACK
    pushfl
    pushl $USER_CODE
    pushl $\to
    iret
    .endm
    .macro user_segments
    movl $USER_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    .endm
    .macro breakpoint number, address, control
    movl $\address, %eax
    movl %eax, %dr\number
    movl $\control, %eax
    movl %eax, %dr7
    .endm
    .macro no_breakpoints
    xorl %eax, %eax
    movl %eax, %dr7
    .endm
    .macro flags_with bits
    pushfl
    orl $\bits, (%esp)
    popfl
    .endm
    .macro flags_without bits
    pushfl
    andl $~\bits, (%esp)
    popfl
    .endm

    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw $0xf000, %ax
    movw %ax, %ds
    movw $(IMAGE >> 4), %ax
    movw %ax, %es
    xorw %si, %si
    xorw %di, %di
    movw $((image_end - _start) / 4), %cx
    cld
    rep movsl
    lgdtl %cs:(gdt_pointer - IMAGE)
    movl $1, %eax
    movl %eax, %cr0
    ljmpl $KERNEL_CODE, $main

    .code32
main:
    movw $KERNEL_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movl $STACK, %esp
    call make_idt
    call make_tables
    lidtl idt_pointer
    movl $INNER_STACK, TSS + 4      # ESP0, SS0, no I/O bitmap
    movl $KERNEL_DATA, TSS + 8
    movl $0x680000, TSS + 0x64
    movw $0x28, %ax
    ltr %ax

    # ---- instructions ---------------------------------------------------------------------------------------------------
    test "divide", 1f
    xorl %ecx, %ecx
    divl %ecx
1:  again 1f
    movl $0x80000000, %eax
    movl $0x80000000, %edx
    movl $-1, %ecx
    idivl %ecx
1:  test "int3, into, int1", 1f
    int3
    movb $0x7f, %al
    addb $1, %al
    into
    .byte 0xf1
1:  test "bound, ud2, lock", 1f
    movl $5, %eax
    movl $1, DATA
    movl $4, DATA + 4
    bound %eax, DATA
1:  again 1f
    ud2
1:  again 1f
    .byte 0xf0, 0x40                # lock inc %eax
1:  test "no FPU", 1f
    movl %cr0, %eax
    orl $8, %eax
    movl %eax, %cr0
    fninit
1:  again 1f
    movaps %xmm0, %xmm1             # CR4.OSFXSR is clear
1:  clts
    test "control registers, MSRs", 1f
    movl $0x80000000, %eax
    movl %eax, %cr4
1:  again 1f
    movl $0x80000000, %eax          # paging without protection
    movl %eax, %cr0
1:  again 1f
    movl $0xdeadbeef, %ecx
    rdmsr

    # ---- segments -----------------------------------------------------------------------------------------------------------
1:  test "segment loads: beyond the table, the system's, not present, code", 1f
    movl $0x1000, %eax
    movl %eax, %es
1:  again 1f
    movl $0x28, %eax
    movl %eax, %es
1:  again 1f
    movl $0x38, %eax
    movl %eax, %es
1:  again 1f
    movl $0x38, %eax
    movl %eax, %ss
1:  again 1f
    xorl %eax, %eax
    movl %eax, %ss
1:  again 1f
    movl $0x50, %eax                # execute only
    movl %eax, %es
1:  again 1f
    movl $0x0c, %eax                # no LDT
    movl %eax, %es
1:  again 1f
    ljmpl $0x10, $0
1:  again 1f
    ljmpl $0x0b, $0                 # RPL 3 to level 0
1:  again 1f
    pushl $0
    pushl $0
    lret
1:  test "limits and types", 1f
    movl $0x40, %eax
    movl %eax, %es
    movl %es:0xffc, %eax
    movl %es:0xffd, %eax
1:  again 1f
    movl $0x40, %eax
    movl %eax, %es
    movl %eax, %es:0x1000
1:  again 1f
    movl $0, %eax
    movl %eax, %fs
    movl %fs:0, %eax
1:  again 1f
    movl $0x48, %eax                # read-only
    movl %eax, %fs
    movl %fs:DATA, %eax
    movl %eax, %fs:DATA
1:  again 1f
    movl %eax, %cs:DATA
1:  again 1f
    movl $0x58, %eax                # expand-down: from 0x1000
    movl %eax, %fs
    movl %fs:0x1000, %eax
    movl %fs:0xfff, %eax
1:  again 1f
    movl $0x60, %eax                # a small stack
    movl %eax, %ss
    movl $0x800, %esp
    movl %ss:0xffd, %eax
1:  movl $KERNEL_DATA, %eax
    movl %eax, %es
    movl %eax, %fs

    # ---- interrupts ---------------------------------------------------------------------------------------------------------
    test "gates: beyond the table, no gate, not present, null, wrong segment", 1f
    int $0x70
1:  again 1f
    int $0x3a
1:  again 1f
    int $0x32
1:  again 1f
    int $0x33
1:  again 1f
    int $0x35
1:  test "double fault", 1f         # no gate for #DE, none for the #NP of that
    movb $0x0e, idt + 5
    movb $0x0e, idt + 11 * 8 + 5
    xorl %ecx, %ecx
    divl %ecx
1:  movb $0x8e, idt + 5
    movb $0x8e, idt + 11 * 8 + 5
    again 1f                        # benign and then serious: the second one
    movb $0x0e, idt + 6 * 8 + 5
    ud2
1:  movb $0x8e, idt + 6 * 8 + 5
    again 1f                        # page fault, bad segment of its handler
    movw $0x10, idt + 14 * 8 + 2
    movl WINDOW + 0x2000, %eax
1:  movw $KERNEL_CODE, idt + 14 * 8 + 2

    # ---- pages --------------------------------------------------------------------------------------------------------------
    test "page faults of level 0", 1f
    movl WINDOW + 0x2008, %eax
1:  again 1f
    movl %eax, WINDOW + 0x2008
1:  again 1f
    movl %eax, WINDOW + 0x1004
1:  again 1f
    movl $WINDOW + 0x2000, %eax
    jmp *%eax
1:  again 1f
    movl WINDOW + 0x1ffe, %eax      # the second page
1:  again 1f
    addl $1, WINDOW + 0x1000        # reads and writes: a write
1:  again 1f
    movl $WINDOW + 0x2ffc, %edi     # backwards into what is there? no: nothing moves
    movl $4, %ecx
    rep stosl
1:  again 1f
    movl $WINDOW + 0xff8, %edi      # two elements, then the read-only page
    movl $4, %ecx
    rep stosl
1:  call show_ecx_edi
    test "page faults of level 3", 2f
    user 1f
1:  user_segments
    movl WINDOW + 0x10, %eax
    movl WINDOW + 0x3010, %eax
2:  again 2f
    user 1f
1:  user_segments
    movl %eax, WINDOW + 0x1010
2:  again 2f
    user WINDOW+0x3000
2:

    # ---- level 3 ------------------------------------------------------------------------------------------------------------
    .irp instruction, cli, hlt, clts, invd
    test "level 3: \instruction", 2f
    user 1f
1:  \instruction
2:
    .endr
    test "level 3: control register, in, lgdt, gates", 2f
    user 1f
1:  movl %cr0, %eax
2:  again 2f
    user 1f
1:  inb $0x61, %al
2:  again 2f
    user 1f
1:  lgdtl gdt_pointer
2:  again 2f
    user 1f
1:  int $0x31                       # level 0's
2:  again 2f
    user 1f
1:  int $0x30                       # a gate of level 3
2:  again 2f
    user 1f
1:  int3
    ljmpl $KERNEL_CODE, $0
2:  again 2f
    user 1f
1:  lcall $0x73, $0                 # a call gate: RPL 3
2:  again 2f
    user 1f
1:  movl $KERNEL_DATA, %eax
    movl %eax, %ds
2:  again 2f
    user 1f
1:  sysenter                        # IA32_SYSENTER_CS is 0
2:  again 2f
    user 1f
1:  pushfl                          # IF and IOPL do not change here
    orl $0x3200, (%esp)
    popfl
    int $0x30
2:
    test "alignment", 2f
    movl %cr0, %eax
    orl $0x40000, %eax
    movl %eax, %cr0
    flags_with 0x40000
    movl DATA + 1, %eax             # not at level 0
    user 1f
1:  user_segments
    movw DATA + 2, %ax
    movl DATA + 2, %eax
2:  again 2f
    flags_with 0x40000
    user 1f
1:  movl $USER_STACK - 2, %esp
    pushl %eax
2:  again 2f
    flags_with 0x40000
    user 1f
1:  user_segments
    movl $DATA + 3, %esi
    movl $DATA + 0x101, %edi
    movl $2, %ecx
    rep movsw
2:  movl %cr0, %eax
    andl $~0x40000, %eax
    movl %eax, %cr0

    # ---- debug exceptions ---------------------------------------------------------------------------------------------------
    test "single step", 1f
    flags_with 0x100
    nop
    movl %ss, %eax
    movl %eax, %ss                  # holds the trap back
    nop
    pushl $KERNEL_CODE
    pushl $2f
    lret
2:  int $0x30                       # the handler is not stepped through
1:  again 1f
    movl $3, %ecx
    movl $DATA, %edi
    flags_with 0x100
    rep stosb                       # each element
    flags_without 0x100
1:  test "instruction breakpoints", 1f
    breakpoint 0, 2f, 0x1
    nop
2:  nop
    movl $2, %ecx
3:  breakpoint 1, 4f, 0x8
    nop
4:  incl %edx
    loop 4b
1:  no_breakpoints
    test "data breakpoints", 1f
    breakpoint 0, DATA, 0xd0001     # stores of 4 bytes
    movl DATA, %eax
    movb %al, DATA + 3
    movb %al, DATA + 4
    movl %eax, DATA - 2
    addl $1, DATA
    movl $DATA - 4, %edi
    movl $4, %ecx
    rep stosl
    movl $DATA, %edi
    movl $2, %ecx
    std
    rep stosb
    cld
    breakpoint 1, DATA+0x11, 0x700008 # accesses of 2 bytes
    movb DATA + 0x10, %al
    movb DATA + 0x12, %al
    cmpl $0, DATA + 0xe
    pushl DATA + 0x10
    popl %eax
    breakpoint 2, DATA+0x20, 0xb000020 # accesses of 8 bytes
    movl DATA + 0x24, %eax
    cmpxchg8b DATA + 0x28
    cmpxchg8b DATA + 0x20
    movl $DATA + 0x20, %esi
    movl $DATA + 0x80, %edi
    movsl
    flags_with 0x100                # with a step
    movl DATA + 0x20, %eax
    flags_without 0x100
1:  no_breakpoints
    test "a data breakpoint below a fault", 1f
    breakpoint 3, WINDOW+0x1ffc, 0xf0000080
    movl WINDOW + 0x1ffe, %eax      # the fault alone
1:  no_breakpoints
    test "I/O breakpoints", 1f
    breakpoint 2, 0x80, 0x6000020   # ports 0x80 and 0x81
    outb %al, $0x80                 # CR4.DE is clear
    movl %cr4, %eax
    orl $8, %eax
    movl %eax, %cr4
    outb %al, $0x80
    inb $0x81, %al
    outb %al, $0x82
    movl $0x80, %edx
    movl $DATA, %esi
    movl $2, %ecx
    rep outsb
    movl %eax, 0x80
1:  no_breakpoints
    test "debug registers", 1f
    movl %dr4, %eax                 # CR4.DE is set
1:  movl %cr4, %eax
    andl $~8, %eax
    movl %eax, %cr4
    again 1f
    movl %dr4, %eax
    movl $0x2000, %eax              # GD
    movl %eax, %dr7
    movl %dr0, %eax
1:  no_breakpoints
    test "level 3: debug register", 2f
    user 1f
1:  movl %dr7, %eax
2:
    # ---- virtual-8086 mode --------------------------------------------------------------------------------------------------
    test "virtual-8086 mode, IOPL 0", 2f
    pushl $0x20002
    call enter_vm86
2:  again 2f
    pushl $0x23002                  # IOPL 3: CLI is allowed, the interrupt goes through the gate
    call enter_vm86
2:
    # ---- tasks --------------------------------------------------------------------------------------------------------------
    test "task switches", 1f
    call make_task
    lcall $0x30, $0
    call show_task
    int $0x34
    call show_task
1:  again 1f
    ljmpl $0x28, $0                 # busy
1:  again 1f
    ljmpl $0x88, $0                 # not present
1:  movb $33 / 2, %al
    outb %al, $0xf4
    hlt

    # ---- what the tests use -------------------------------------------------------------------------------------------------
enter_vm86:                         # 4(%esp): EFLAGS
    movl 4(%esp), %eax
    pushl $0
    pushl $0
    pushl $0
    pushl $0
    pushl $0x2000                   # SS:SP
    pushl $0x8000
    pushl %eax
    pushl $(IMAGE >> 4)
    pushl $(vm86 - IMAGE)
    movl $vm86, origin
    iret
    .code16
vm86:
    nop
    cli
    int $0x30
    .code32

make_task:
    movl $TSS2, %edi
    movl $0x1a, %ecx
    xorl %eax, %eax
    rep stosl
    movl $DIRECTORY, TSS2 + 0x1c
    movl $DIRECTORY, TSS + 0x1c
    movl $task, TSS2 + 0x20
    movl $2, TSS2 + 0x24
    movl $TASK_STACK, TSS2 + 0x38
    movl $KERNEL_DATA, TSS2 + 0x48
    movl $KERNEL_CODE, TSS2 + 0x4c
    movl $KERNEL_DATA, TSS2 + 0x50
    movl $KERNEL_DATA, TSS2 + 0x54
    movl $KERNEL_DATA, TSS2 + 0x58
    movl $KERNEL_DATA, TSS2 + 0x5c
    movl $0x680000, TSS2 + 0x64
    ret
task:
    call show_task
    iret
    jmp task
show_task:                          # TR, back link, NT, CR0.TS
    say "  TR "
    str %eax
    call hex
    say " link "
    movzwl TSS2, %eax
    call hex
    say " flags "
    pushfl
    popl %eax
    andl $FLAGS_SHOWN, %eax
    call hex
    say " CR0 "
    movl %cr0, %eax
    clts
    andl $0x8000000f, %eax
    call hex
    say "\n"
    ret
show_ecx_edi:
    pushl %edi
    pushl %ecx
    say "  ECX "
    popl %eax
    call hex
    say " EDI "
    popl %eax
    call hex
    say "\n"
    ret

    .include "exceptions_support.S"

    .balign 16
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
    .quad 0x0000890520000067        # 28: TSS
    .quad 0x0000890530000067        # 30: TSS2
    .quad 0x00cf13000000ffff        # 38: not present
    .quad 0x0040930000000fff        # 40: 4 KiB
    .quad 0x00cf91000000ffff        # 48: read-only
    .quad 0x00cf99000000ffff        # 50: execute only
    .quad 0x0040970000000fff        # 58: expand-down
    .quad 0x0040930000000fff        # 60: a stack of 4 KiB
    .quad 0                         # 68
    .word gate - IMAGE, KERNEL_CODE # 70: a call gate of level 3, two parameters
    .word 0xec02, IMAGE >> 16
    .quad 0                         # 78
    .quad 0                         # 80
    .quad 0x0000090540000067        # 88: TSS, not present
gdt_pointer:
    .word 0x8f
    .long gdt
gate:                               # shows the caller's CS
    movl $KERNEL_DATA, %eax
    movl %eax, %ds
    say "  gate: CS "
    movl 4(%esp), %eax
    call hex
    say "\n"
    ud2
    .balign 4
idt_pointer:
    .word 0x3b * 8 - 1
    .long idt
    .balign 16
idt:
    .skip 0x3b * 8
resume:     .long 0
saved_esp:  .long 0
origin:     .long 0
stubs:
    .altmacro
    .macro stub_address n
    .long stub_\n
    .endm
    .set n, 0
    .rept 32
    stub_address %n
    .set n, n + 1
    .endr
    .noaltmacro
    .balign 4
image_end:

    .org 0xfff0
    .code16
    ljmpw $0xf000, $(_start - IMAGE)
    .org 0x10000
