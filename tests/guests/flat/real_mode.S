# What flat guests in real mode share: data segments that reach 4 GiB (for memory-mapped registers), vectors, a port to print to.
    .set APIC, 0xfee00000

    .macro out port, value
    movb $\value, %al
    movw $\port, %dx
    outb %al, %dx
    .endm
    .macro apic_write offset, value
    movl $(APIC + \offset), %edi
    movl $\value, %eax
    movl %eax, (%edi)
    .endm
    # The real-mode vector table: offset, segment.
    .macro vector number, handler
    movw $\handler, %ax
    movw %ax, (\number * 4)
    movw $0xf000, %ax
    movw %ax, (\number * 4 + 2)
    .endm
    .macro say text
    movw $\text, %si
    call print
    .endm

    # At the start. Data and stack segments are at 0, the stack is below 0x6000.
    .macro big_segments
    cli
    lgdtl %cs:gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    movw $8, %bx
    movw %bx, %ds
    movw %bx, %es
    andb $0xfe, %al
    movl %eax, %cr0
    ljmpw $0xf000, $big_\@
big_\@:
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $0x6000, %sp
    .endm

    # Anywhere behind: functions and data.
    .macro real_mode_support
print:
    movb %cs:(%si), %al
    incw %si
    testb %al, %al
    jz 1f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp print
1:  ret

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf93000000ffff    # 0x08: data, 4 GiB
gdt_pointer:
    .word 15
    .long gdt + 0xf0000
    .endm
