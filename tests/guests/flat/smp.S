# Several CPUs in 32-bit protected mode: start-up, IPIs, locked operations, the memory model, code that one CPU changes and others run,
# TLB shootdown. All CPUs run `main` side by side, from barrier to barrier; the first one judges and prints a line a test.
# The exit status written is 0x10 (33), or 0x11 (35) when something failed.
#
# Memory: the image is copied to IMAGE, where it is linked; arrays of the litmus tests from X on, a line of 64 bytes an entry.
    .set IMAGE, 0x10000
    .set SCRATCH, 0x60000           # counters
    .set STACKS, 0x80000
    .set X, 0x200000
    .set Y, 0x280000
    .set R0, 0x300000
    .set R1, 0x380000
    .set R2, 0x400000
    .set R3, 0x480000
    .set ARRAY, 0x80000             # bytes of each
    .set ROUNDS, 4
    .set CODE, 0x70000
    .set PAGES, 0x600000            # pages that become code
    .set DIRECTORY, 0x50000
    .set TABLE, 0x51000
    .set WINDOW, 0x40000000
    .set PAGE_A, 0x700000
    .set APIC, 0xfee00000
    .set COUNT, 20000

    .macro say text
    movl $\text, %esi
    call print
    .endm
    # Only the given CPU goes on to `to`.
    .macro on cpu, to
    cmpl $\cpu, %ebx
    je \to
    .endm
    .macro each_line again
    addl $64, %esi
    cmpl $ARRAY, %esi
    jb \again
    .endm

    .code16
    .globl _start
_start:
    cli
    xorw %ax, %ax
    movw %ax, %es
    movw $0xf000, %ax
    movw %ax, %ds
    movw $(IMAGE >> 4), %ax
    movw %ax, %es
    xorw %si, %si
    xorw %di, %di
    movw $0x8000, %cx
    cld
    rep movsw
    lgdtl %cs:(gdt_pointer - IMAGE)
    movl $1, %eax
    movl %eax, %cr0
    ljmpl $8, $first

    .org 0x1000
ap_start:                           # start-up vector 0x11
    cli
    lgdtl %cs:(ap_gdt_pointer - ap_start)
    movl $1, %eax
    movl %eax, %cr0
    ljmpl $8, $another
    .balign 8
ap_gdt_pointer:
    .word 0x17
    .long gdt

    .code32
    .macro set_up                   # ebx: the CPU's number, from its APIC ID
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $1, %eax
    cpuid
    shrl $24, %ebx
    movl %ebx, %esp
    shll $12, %esp
    addl $(STACKS + 0x1000), %esp
    lidtl idt_pointer
    movl $0x1ff, APIC + 0xf0
    movl $0, APIC + 0x80
    .endm

another:
    set_up
    lock incl alive
    jmp main

first:
    set_up
    movb $0xff, %al                 # the 8259s say nothing
    outb %al, $0x21
    outb %al, $0xa1
    # An interrupt gate.
    movl $on_ipi, %eax
    movw %ax, idt + 0x40 * 8
    shrl $16, %eax
    movw %ax, idt + 0x40 * 8 + 6
    movw $8, idt + 0x40 * 8 + 2
    movw $0x8e00, idt + 0x40 * 8 + 4
    movw $0x510, %dx                # fw_cfg: the number of CPUs
    movw $5, %ax
    outw %ax, %dx
    movw $0x511, %dx
    inb %dx, %al
    movzbl %al, %eax
    movl %eax, cpus
    cmpl $1, %eax
    je 2f
    movl $0xc4500, APIC + 0x300     # INIT, then a start-up message, to all but self
    movl $0xc4611, APIC + 0x300
    decl %eax
1:  pause
    cmpl %eax, alive
    jne 1b
2:  say started

main:
    call barrier
    call sums
    call halts
    call litmus
    call modified
    call shootdown
    on 0, 1f
0:  cli
    hlt
    jmp 0b
1:  movb $0x10, %al
    cmpl $0, failures
    je 2f
    movb $0x11, %al
2:  movw $0xf4, %dx
    outb %al, %dx
    hlt

barrier:
    pushl %eax
    pushl %edx
    movl generation, %edx
    movl $1, %eax
    lock xaddl %eax, arrived
    incl %eax
    cmpl cpus, %eax
    jne 1f
    movl $0, arrived
    lock incl generation
    jmp 2f
1:  pause
    cmpl %edx, generation
    je 1b
2:  popl %edx
    popl %eax
    ret

print:                              # esi: text
    pushl %edx
    movw $0x3f8, %dx
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  popl %edx
    ret

verdict:                            # CPU 0: eax 0: right; esi: the name
    on 0, 1f
    ret
1:  pushl %eax
    call print
    popl %eax
    testl %eax, %eax
    jz 2f
    incl failures
    say failed
    ret
2:  say passed
    ret

# ---- locked operations: none is lost ------------------------------------------------------------------------------
sums:
    movl $COUNT, %ecx
1:  lock incl SCRATCH
    lock addl $1, SCRATCH + 0x7e    # two cache lines
    movl $1, %eax
    lock xaddl %eax, SCRATCH + 0x100
    movl SCRATCH + 0x140, %eax
2:  leal 1(%eax), %edx
    lock cmpxchgl %edx, SCRATCH + 0x140
    jne 2b
    decl %ecx
    jnz 1b
    movl $(COUNT / 16), %ecx
3:  pushl %ebx
    movl SCRATCH + 0x180, %eax
    movl SCRATCH + 0x184, %edx
4:  movl %eax, %ebx
    addl $1, %ebx
    pushl %ecx
    movl %edx, %ecx
    adcl $0, %ecx
    lock cmpxchg8b SCRATCH + 0x180
    popl %ecx
    jne 4b
    popl %ebx
    decl %ecx
    jnz 3b
    movl $64, %ecx                  # two pages: everybody else stops
5:  lock incl SCRATCH + 0xffe
    movl $1, %eax
    lock xaddl %eax, SCRATCH + 0x1ffd
    decl %ecx
    jnz 5b
    call barrier
    movl $COUNT, %eax
    mull cpus
    xorl %ecx, %ecx
    .irp place, SCRATCH, SCRATCH + 0x7e, SCRATCH + 0x100, SCRATCH + 0x140
    movl \place, %edx
    xorl %eax, %edx
    orl %edx, %ecx
    .endr
    movl $(COUNT / 16), %eax
    mull cpus
    xorl SCRATCH + 0x180, %eax
    orl %eax, %ecx
    movl $64, %eax
    mull cpus
    movl SCRATCH + 0xffe, %edx
    xorl %eax, %edx
    orl %edx, %ecx
    xorl SCRATCH + 0x1ffd, %eax
    orl %ecx, %eax
    movl $name_sums, %esi
    call verdict
    jmp barrier

# ---- HLT and IPIs: each message wakes each CPU ----------------------------------------------------------------------
on_ipi:                             # invalidates the window of the shootdown, too
    invlpg WINDOW
    lock incl acks
    pushl %eax
    xorl %eax, %eax
    movl %eax, APIC + 0xb0
    popl %eax
    iret

send_and_wait:                      # CPU 0: to all others, until all have had it
    movl $0, acks
    movl $0xc4040, APIC + 0x300
1:  pause
    movl acks, %eax
    incl %eax
    cmpl cpus, %eax
    jne 1b
    ret

halts:
    movl $0, stop
    call barrier
    on 0, 2f
1:  sti                             # a message that comes before HLT waits for STI's shadow to end, and ends HLT
    hlt
    cli
    cmpl $0, stop
    je 1b
    sti                             # `stop` may have come before the last message
    call barrier
    cli
    jmp 6f
2:  movl $100, %ecx
3:  cmpl $1, %ecx
    jne 5f
    movl $1, stop
5:  call send_and_wait
    decl %ecx
    jnz 3b
    call barrier
6:  xorl %eax, %eax
    movl $name_halts, %esi
    call verdict
    jmp barrier

# ---- the memory model -------------------------------------------------------------------------------------------------
clear:                              # CPU 0 clears the arrays
    on 0, 1f
    jmp barrier
1:  pushl %ecx
    pushl %edi
    movl $X, %edi
    movl $(6 * ARRAY / 4), %ecx
    xorl %eax, %eax
    rep stosl
    popl %edi
    popl %ecx
    jmp barrier

    # Store buffering: each stores to one place and loads the other's. Both 0: allowed without a fence between.
    .macro store_buffering name, fence:vararg
\name:
    movl $ROUNDS, %ecx
    xorl %edi, %edi
0:  call clear
    xorl %esi, %esi
    on 0, 1f
    on 1, 2f
    jmp 3f
1:  movl $1, X(%esi)
    \fence
    movl Y(%esi), %eax
    movl %eax, R0(%esi)
    each_line 1b
    jmp 3f
2:  movl $1, Y(%esi)
    \fence
    movl X(%esi), %eax
    movl %eax, R1(%esi)
    each_line 2b
3:  call barrier
    xorl %esi, %esi
4:  movl R0(%esi), %eax
    orl R1(%esi), %eax
    cmpl $1, %eax
    adcl $0, %edi
    each_line 4b
    decl %ecx
    jnz 0b
    movl %edi, %eax
    ret
    .endm
    store_buffering sb_plain
    store_buffering sb_mfence, mfence
    store_buffering sb_lock, lock orl $0, (%esp)
    store_buffering sb_xchg, xchgl %eax, -8(%esp)

message_passing:
    movl $ROUNDS, %ecx
    xorl %edi, %edi
0:  call clear
    xorl %esi, %esi
    on 0, 1f
    on 1, 2f
    jmp 3f
1:  movl $1, X(%esi)
    movl $1, Y(%esi)
    each_line 1b
    jmp 3f
2:  movl Y(%esi), %eax
    movl X(%esi), %edx
    movl %eax, R0(%esi)
    movl %edx, R1(%esi)
    each_line 2b
3:  call barrier
    xorl %esi, %esi
4:  movl R1(%esi), %eax             # seen Y but not X: R1 below R0
    cmpl R0(%esi), %eax
    adcl $0, %edi
    each_line 4b
    decl %ecx
    jnz 0b
    movl %edi, %eax
    ret

load_buffering:
    movl $ROUNDS, %ecx
    xorl %edi, %edi
0:  call clear
    xorl %esi, %esi
    on 0, 1f
    on 1, 2f
    jmp 3f
1:  movl X(%esi), %eax
    movl $1, Y(%esi)
    movl %eax, R0(%esi)
    each_line 1b
    jmp 3f
2:  movl Y(%esi), %eax
    movl $1, X(%esi)
    movl %eax, R1(%esi)
    each_line 2b
3:  call barrier
    xorl %esi, %esi
4:  movl R0(%esi), %eax
    andl R1(%esi), %eax
    addl %eax, %edi
    each_line 4b
    decl %ecx
    jnz 0b
    movl %edi, %eax
    ret

independent_reads:                  # four CPUs: two writers, two readers that must agree on the order
    movl $ROUNDS, %ecx
    xorl %edi, %edi
0:  call clear
    xorl %esi, %esi
    on 0, 1f
    on 1, 2f
    on 2, 3f
    on 3, 4f
    jmp 5f
1:  movl $1, X(%esi)
    each_line 1b
    jmp 5f
2:  movl $1, Y(%esi)
    each_line 2b
    jmp 5f
3:  movl X(%esi), %eax
    movl Y(%esi), %edx
    movl %eax, R0(%esi)
    movl %edx, R1(%esi)
    each_line 3b
    jmp 5f
4:  movl Y(%esi), %eax
    movl X(%esi), %edx
    movl %eax, R2(%esi)
    movl %edx, R3(%esi)
    each_line 4b
5:  call barrier
    xorl %esi, %esi
6:  movl R1(%esi), %eax             # 1, 0 and 1, 0
    orl R3(%esi), %eax
    xorl $1, %eax
    andl R0(%esi), %eax
    andl R2(%esi), %eax
    addl %eax, %edi
    each_line 6b
    decl %ecx
    jnz 0b
    movl %edi, %eax
    ret

    .macro litmus_test name
    call \name
    movl $name_\name, %esi
    call verdict
    call barrier
    .endm
litmus:
    cmpl $1, cpus
    je 1f
    call sb_plain                   # whatever comes of it
    call barrier
    litmus_test sb_mfence
    litmus_test sb_lock
    litmus_test sb_xchg
    litmus_test message_passing
    litmus_test load_buffering
    cmpl $4, cpus
    jb 1f
    litmus_test independent_reads
1:  ret

# ---- code that one CPU changes and the others run -----------------------------------------------------------------------
    # All: wait until `turn` is eax. CPUID serialises, as the architecture wants it.
wait_turn:
1:  pause
    cmpl %eax, turn
    jne 1b
    pushl %eax
    pushl %ebx
    pushl %ecx
    cpuid
    popl %ecx
    popl %ebx
    popl %eax
    ret
    # CPU 0: next turn, when everybody has finished this one.
next_turn:
    movl %eax, turn
1:  movl acks, %edx
    incl %edx
    cmpl cpus, %edx
    pause
    jne 1b
    movl $0, acks
    ret
    # mov eax, imm32 ; ret
    .macro put_code at
    movl $0xb8909090, -3(\at)
    movl %eax, 1(\at)
    movb $0xc3, 5(\at)
    .endm

modified:
    movl $0, turn
    movl $0, acks
    movl $0, SCRATCH + 0x200
    movl $1, %eax
    movl $CODE, %edi
    on 0, 1f
    jmp 2f
1:  put_code %edi
2:  call barrier
    # The same place, 200 times.
    on 0, 4f
3:  call wait_turn
    pushl %eax
    call *%edi
    popl %edx
    cmpl %eax, %edx
    je 5f
    lock incl SCRATCH + 0x200
5:  lock incl acks
    leal 1(%edx), %eax
    cmpl $200, %edx
    jb 3b
    jmp 6f
4:  movl %eax, 1(%edi)
    call next_turn
    incl %eax
    cmpl $200, %eax
    jbe 4b
6:  call barrier
    # Pages that CPU 0 has just written, and writes again when they are code.
    movl $201, %eax
    movl $(PAGES + 0x100), %edi
7:  on 0, 8f
    call wait_turn
    pushl %eax
    call *%edi
    popl %edx
    cmpl %eax, %edx
    je 9f
    lock incl SCRATCH + 0x200
9:  lock incl acks
    movl %edx, %eax
    jmp 10f
8:  put_code %edi
    call next_turn
10: incl %eax
    testl $1, %eax
    jz 7b
    addl $0x1000, %edi
    cmpl $401, %eax
    jb 7b
    call barrier
    # Without any order: old or new, never something else; and the last one at the end.
    movl $2000, %ecx
    movl $CODE, %edi
    on 0, 12f
11: call *%edi
    subl $0x11110000, %eax
    cmpl $0xffff, %eax
    ja 15f
    loop 11b
    jmp 13f
15: cmpl $(200 - 0x11110000), %eax  # what was there before
    je 14f
    lock incl SCRATCH + 0x200
14: loop 11b
    jmp 13f
12: leal 0x11110000(%ecx), %eax
    movl %eax, 1(%edi)
    loop 12b
13: call barrier
    call *%edi
    cmpl $0x11110001, %eax
    je 16f
    lock incl SCRATCH + 0x200
16: call barrier
    movl SCRATCH + 0x200, %eax
    movl $name_modified, %esi
    call verdict
    jmp barrier

# ---- TLB shootdown under load ---------------------------------------------------------------------------------------------
shootdown:
    on 0, 1f
    jmp 3f
1:  movl $DIRECTORY, %edi           # 4 MiB pages, each at its own address
    movl $0x83, %eax
    movl $1024, %ecx
2:  stosl
    addl $0x400000, %eax
    loop 2b
    movl $(TABLE + 3), DIRECTORY + (WINDOW >> 22) * 4
    movl $(PAGE_A + 3), TABLE
    movl $0, stop
    movl $0, SCRATCH + 0x240
3:  call barrier
    movl %cr4, %eax
    orl $0x10, %eax
    movl %eax, %cr4
    movl $DIRECTORY, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    call barrier
    on 0, 5f
    sti
4:  incl WINDOW                     # at full speed, until told otherwise
    incl WINDOW + 64
    cmpl $0, stop
    je 4b
    cli
    jmp 8f
5:  movl $200, %ecx
    movl $PAGE_A, %esi              # what is mapped
6:  movl %esi, %edi
    xorl $0x1000, %esi
    leal 3(%esi), %eax
    movl %eax, TABLE
    invlpg WINDOW
    call send_and_wait
    movl (%edi), %edx               # nobody may store to the former page any more
    movl 64(%edi), %ebp
    movl $2000, %eax
7:  decl %eax
    jnz 7b
    subl (%edi), %edx
    subl 64(%edi), %ebp
    orl %ebp, %edx
    orl %edx, SCRATCH + 0x240
    loop 6b
    movl $1, stop
8:  call barrier
    movl SCRATCH + 0x240, %eax
    movl $name_shootdown, %esi
    call verdict
    jmp barrier

    .balign 16
gdt:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 0x17
    .long gdt
idt_pointer:
    .word 0x41 * 8 - 1
    .long idt
    .balign 16
idt:
    .skip 0x41 * 8
    .balign 64
cpus:       .long 0
alive:      .long 0
failures:   .long 0
    .balign 64
arrived:    .long 0
    .balign 64
generation: .long 0
    .balign 64
acks:       .long 0
    .balign 64
turn:       .long 0
    .balign 64
stop:       .long 0
    .balign 64
started:    .asciz "started\n"
passed:     .asciz "passed\n"
failed:     .asciz "FAILED\n"
name_sums:  .asciz "locked operations: "
name_halts: .asciz "halts and IPIs: "
name_sb_mfence: .asciz "store buffering, MFENCE: "
name_sb_lock: .asciz "store buffering, LOCK: "
name_sb_xchg: .asciz "store buffering, XCHG: "
name_message_passing: .asciz "message passing: "
name_load_buffering: .asciz "load buffering: "
name_independent_reads: .asciz "independent reads: "
name_modified: .asciz "modified code: "
name_shootdown: .asciz "shootdown: "

    .org 0xfff0
    .code16
    ljmpw $0xf000, $(_start - IMAGE)
    .org 0x10000
