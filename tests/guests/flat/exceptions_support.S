# What exceptions.S stands on: handlers that print, the interrupt table, page tables, text on the serial port. Included by it.

# Stubs push a zero where there is no error code, then the vector.
    .macro stub vector
stub_\vector:
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17
    .else
    pushl $0
    .endif
    pushl $\vector
    jmp event
    .endm
    .altmacro
    .macro stub_of n
    stub \n
    .endm
    .set n, 0
    .rept 32
    stub_of %n
    .set n, n + 1
    .endr
    stub_of 48
    stub_of 49
    .noaltmacro

event:                              # vector, error code, EIP, CS, EFLAGS
    pushal
    pushl %ds
    pushl %es
    movl $KERNEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    cld
    movl %esp, %ebp
    say "  vector "
    movl 40(%ebp), %eax
    call hex
    say " error "
    movl 44(%ebp), %eax
    call hex
    say " at "
    movl 48(%ebp), %eax
    testl $0x20000, 56(%ebp)
    jz 1f
    addl $IMAGE, %eax
1:  subl origin, %eax
    call hex
    say " flags "
    movl 56(%ebp), %eax
    andl $FLAGS_SHOWN, %eax
    call hex
    say " cs "
    movzwl 52(%ebp), %eax
    call hex
    cmpl $14, 40(%ebp)
    jne 2f
    say " cr2 "
    movl %cr2, %eax
    call hex
2:  cmpl $1, 40(%ebp)
    jne 3f
    say " dr6 "
    movl %dr6, %eax
    andl $0xe00f, %eax
    movl %eax, %ebx
    call hex
    xorl %eax, %eax
    movl %eax, %dr6
    testl $0xf, %ebx
    jz 3f
    orl $0x10000, 56(%ebp)          # RF: an instruction breakpoint is a fault
3:  say "\n"
    movl 40(%ebp), %eax
    cmpl $1, %eax
    je 4f
    cmpl $3, %eax
    je 4f
    cmpl $4, %eax
    je 4f
    # A fault: to `resume`. Registers are as they were, but for the segments.
    movl %ebp, %esp
    addl $8, %esp
    popal
    movl $KERNEL_DATA, %eax
    movl %eax, %ss
    movl saved_esp, %esp
    pushl $2
    popfl
    jmp *resume
4:  movl %ebp, %esp
    testl $0x2000, %ebx             # BD: go on behind it
    jz 5f
    cmpl $1, 40(%ebp)
    jne 5f
    addl $8, %esp
    popal
    movl saved_esp, %esp
    jmp *resume
5:  popl %es
    popl %ds
    popal
    addl $8, %esp
    iret

make_idt:
    movl $idt, %edi
    movl $stubs, %esi
    xorl %ecx, %ecx
1:  movl (%esi,%ecx,4), %eax
    movw %ax, (%edi,%ecx,8)
    shrl $16, %eax
    movw %ax, 6(%edi,%ecx,8)
    movw $KERNEL_CODE, 2(%edi,%ecx,8)
    movw $0x8e00, 4(%edi,%ecx,8)
    incl %ecx
    cmpl $32, %ecx
    jb 1b
    movb $0xee, 3 * 8 + 5(%edi)
    movb $0xee, 4 * 8 + 5(%edi)
    movl $stub_48, %eax
    movl $0x30, %ecx
    movb $0xee, %dl
    call 2f
    movl $stub_49, %eax
    movl $0x31, %ecx
    movb $0x8e, %dl
    call 2f
    movl $0x32, %ecx
    movb $0x0e, %dl
    call 2f
    movl $0x33, %ecx
    movb $0x8e, %dl
    call 2f
    movw $0, 2(%edi,%ecx,8)
    movl $0x35, %ecx
    call 2f
    movw $0x10, 2(%edi,%ecx,8)
    movl $0x34, %ecx                # a task gate
    movb $0x85, %dl
    call 2f
    movw $0x30, 2(%edi,%ecx,8)
    ret
2:  movw %ax, (%edi,%ecx,8)
    movb $0, 4(%edi,%ecx,8)
    movb %dl, 5(%edi,%ecx,8)
    movw $KERNEL_CODE, 2(%edi,%ecx,8)
    pushl %eax
    shrl $16, %eax
    movw %ax, 6(%edi,%ecx,8)
    popl %eax
    ret

make_tables:
    movl $DIRECTORY, %edi
    movl $0x87, %eax                # 4 MiB, for all levels, each at its own address
    movl $4, %ecx
1:  stosl
    addl $0x400000, %eax
    loop 1b
    xorl %eax, %eax
    movl $1020, %ecx
    rep stosl
    movl $TABLE, %edi
    movl $1024, %ecx
    rep stosl
    movl $(TABLE + 7), DIRECTORY + (WINDOW >> 22) * 4
    movl $(DATA + 0x10007), TABLE
    movl $(DATA + 0x11005), TABLE + 4
    movl $(DATA + 0x13003), TABLE + 12
    movl $0x10, %eax
    movl %eax, %cr4
    movl $DIRECTORY, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $0x80010000, %eax
    movl %eax, %cr0
    ret

print:                              # the text at esi
    lodsb
    testb %al, %al
    jz 1f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp print
1:  ret
hex:                                # eax, without leading zeros
    movl $8, %ecx
    xorl %edi, %edi
1:  roll $4, %eax
    movl %eax, %esi
    andl $15, %esi
    orl %esi, %edi
    jnz 2f
    cmpl $1, %ecx
    jne 3f
2:  pushl %eax
    movb digits(%esi), %al
    movw $0x3f8, %dx
    outb %al, %dx
    popl %eax
3:  loop 1b
    ret
digits: .ascii "0123456789abcdef"

