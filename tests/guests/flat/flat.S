# The classic small guest: a 64 KiB firmware image that prints a line to COM1 and leaves through isa-debug-exit.
# MODE 16, 32 or 64 says in which mode it prints; the exit status written is 0x10, 0x20 or 0x30, so the emulator
# ends with (status << 1) | 1.
    .code16
    .globl _start
_start:
    cli
    movw %cs, %ax
    movw %ax, %ds
.if MODE == 16
    movw $message, %si
1:  lodsb
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 1b
2:  movb $0x10, %al
    movw $0xf4, %dx
    outb %al, %dx
3:  hlt
    jmp 3b
.else
    lgdtl gdt_pointer
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $(protected + 0xf0000)

    .code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x8000, %esp
.if MODE == 64
    # Identity-map 2 MiB with one large page: PML4 at 0x1000, PDPT 0x2000, PD 0x3000.
    movl $0x1000, %edi
    xorl %eax, %eax
    movl $0xc00, %ecx
    cld
    rep stosl
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x83, 0x3000
    movl $0x1000, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    ljmpl $0x18, $(long_mode + 0xf0000)
    .code64
long_mode:
    leaq message(%rip), %rsi
1:  movb (%rsi), %al
    incq %rsi
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    call nothing
    jmp 1b
2:  movb $0x30, %al
    movw $0xf4, %dx
    outb %al, %dx
3:  hlt
    jmp 3b
nothing:
    ret
.else
    movl $(message + 0xf0000), %esi
1:  lodsb
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    call nothing
    jmp 1b
2:  movb $0x20, %al
    movw $0xf4, %dx
    outb %al, %dx
3:  hlt
    jmp 3b
nothing:
    ret
.endif
.endif

message:
.if MODE == 16
    .asciz "Hello from real mode\n"
.elseif MODE == 32
    .asciz "Hello from protected mode\n"
.else
    .asciz "Hello from long mode\n"
.endif
    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    # 0x08: 32-bit code
    .quad 0x00cf93000000ffff    # 0x10: data
    .quad 0x00af9b000000ffff    # 0x18: 64-bit code
gdt_pointer:
    .word 31
    .long gdt + 0xf0000

    .org 0xfff0
    .code16
    ljmpw $0xf000, $_start
    .org 0x10000
