# A firmware image that prints "ready" to COM1 and then writes to port 0x80 for ever: each write leaves the guest.
    .code16
    .globl _start
_start:
    cli
    movw %cs, %ax
    movw %ax, %ds
    movw $message, %si
1:  lodsb
    testb %al, %al
    jz 2f
    movw $0x3f8, %dx
    outb %al, %dx
    jmp 1b
2:  outb %al, $0x80
    jmp 2b
message:
    .asciz "ready\n"

    .org 0xfff0
    ljmpw $0xf000, $_start
    .org 0x10000
