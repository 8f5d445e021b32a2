# Interrupts in real mode, with data segments that reach 4 GiB (for the APICs' registers).
#
# MODE 1: one after the other, ten of each: the 8254 through the 8259, the 8254 through the I/O APIC, the local APIC's timer, a
#         level-triggered interrupt of COM1 through the I/O APIC (which needs the EOI to come back). A line is printed after each;
#         the exit status written is 0x15, so the emulator ends with 43.
# MODE 2, 3, 4: the first, second or third of them for ever, at 100 Hz. The count lies at COUNTER; every fourth prints a letter, in the
#         order of the alphabet, so that a lost or repeated count shows.
    .set COUNTER, 0x7000
    .set LETTER, 0x7004
    .set HANDLED, 10
    .set IOREGSEL, 0xfec00000
    .set IOWIN, 0xfec00010

    .macro ioapic_write index, value
    movl $IOREGSEL, %edi
    movl $\index, %eax
    movl %eax, (%edi)
    movl $IOWIN, %edi
    movl $\value, %eax
    movl %eax, (%edi)
    .endm
    .include "real_mode.S"

    .code16
    .globl _start
_start:
    big_segments
    xorl %eax, %eax
    movl %eax, (COUNTER)
    movb $'a', (LETTER)
    vector 0x20, through_8259
    vector 0x27, stray
    vector 0x40, through_apic
    vector 0x60, from_uart
    # The 8259s at 0x20 and 0x28, all masked.
    out 0x20, 0x11
    out 0xa0, 0x11
    out 0x21, 0x20
    out 0xa1, 0x28
    out 0x21, 0x04
    out 0xa1, 0x02
    out 0x21, 0x01
    out 0xa1, 0x01
    out 0x21, 0xff
    out 0xa1, 0xff
    # The 8254's counter 0: mode 2, 100 Hz.
    out 0x43, 0x34
    out 0x40, 0x9c
    out 0x40, 0x2e
    apic_write 0xf0, 0x1ff

.if MODE == 1 || MODE == 2
    out 0x21, 0xfe
.if MODE == 2
    jmp forever
.else
    call wait
    out 0x21, 0xff
    say text_8259
.endif
.endif
.if MODE == 1 || MODE == 3
    ioapic_write 0x15, 0
    ioapic_write 0x14, 0x40
.if MODE == 3
    jmp forever
.else
    call wait
    ioapic_write 0x14, 0x10040
    say text_ioapic
.endif
.endif
.if MODE == 1 || MODE == 4
    apic_write 0x3e0, 0xb
    apic_write 0x320, 0x20040
    apic_write 0x380, 10000000
.if MODE == 4
    jmp forever
.else
    call wait
    apic_write 0x320, 0x10040
    say text_timer
.endif
.endif
.if MODE == 1
    ioapic_write 0x19, 0
    ioapic_write 0x18, 0x8060
    out 0x3f9, 2
    call wait
    say text_level
    out 0xf4, 0x15
1:  hlt
    jmp 1b

    # Waits for HANDLED interrupts.
wait:
    cli
    movl $0, (COUNTER)
1:  cmpl $HANDLED, (COUNTER)
    jae 2f
    sti
    hlt
    cli
    jmp 1b
2:  ret
.else
forever:
    sti
    hlt
    jmp forever
.endif

count:
    incl (COUNTER)
.if MODE != 1
    testb $3, (COUNTER)
    jnz 1f
    movb (LETTER), %al
    movw $0x3f8, %dx
    outb %al, %dx
    incb %al
    cmpb $('z' + 1), %al
    jb 2f
    movb $'a', %al
2:  movb %al, (LETTER)
.endif
1:  ret

through_8259:
    pushal
    call count
    out 0x20, 0x20
    popal
    iretw
through_apic:
    pushal
    call count
    apic_write 0xb0, 0
    popal
    iretw
    # Reading IIR takes the line down; the next character raises it again before the EOI.
from_uart:
    pushal
    movw $0x3fa, %dx
    inb %dx, %al
    call count
    cmpl $HANDLED, (COUNTER)
    jae 1f
    out 0x3f8, '.'
    jmp 2f
1:  out 0x3f9, 0
2:  apic_write 0xb0, 0
    popal
    iretw
stray:
    iretw

text_8259:
    .asciz "8259\n"
text_ioapic:
    .asciz "I/O APIC\n"
text_timer:
    .asciz "APIC timer\n"
text_level:
    .asciz "\nlevel\n"

    real_mode_support

    .org 0xfff0
    ljmpw $0xf000, $_start
    .org 0x10000
