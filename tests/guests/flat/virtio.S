# A driver of virtio-blk-pci by its legacy interface, with MSI-X: does each request interrupt once, whoever carries the message?
#
# The disk is at 04.0 and has queue-size=16. Vector 0 of the device (the queue's) is interrupt 0x40, later 0x42, vector 1 (the
# configuration's) 0x41. Printed are a line for each step, behind it the text at the start of the sector that was read. Two steps wait
# for a change of the disk's size, to 64 KiB and to 128 KiB. The exit status written is 0x20 (the emulator ends with 65), 1 (3) where
# something is wrong. Sources: VIRTIO 1.2, 2.7.2, 4.1.4.10, 5.2.6; PCI 3.0, 6.8.2.
    .set QUEUE_COUNT, 0x7000        # interrupts 0x40, 0x41, 0x42
    .set CONFIG_COUNT, 0x7004
    .set OTHER_COUNT, 0x7008
    .set WANTED, 0x700c
    .set ROUNDS, 0x7010
    .set DEVICE, 0x80002000         # configuration address of 04.0
    .set PORT, 0xc000               # BAR 0
    .set TABLE, 0xfe000000          # BAR 1: vectors, pending bits at 0x800
    .set MODERN, 0xfe020000         # BAR 4, which is not used
    .set RING, 0x20000              # descriptors, available ring at 0x100, used ring at 0x1000
    .set HEADER, 0x22000            # type, reserved, sector
    .set STATUS, 0x22010
    .set DATA, 0x23000

    .include "real_mode.S"
    .macro pci_write register, value
    movl $(DEVICE | \register), %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movl $\value, %eax
    movw $0xcfc, %dx
    outl %eax, %dx
    .endm
    .macro store address, value
    movl $\address, %edi
    movl $\value, (%edi)
    .endm
    .macro port_write offset, value
    movw $\value, %ax
    movw $(PORT + \offset), %dx
    outw %ax, %dx
    .endm
    # Vector 0 of the device: its message and whether it is masked.
    .macro queue_vector message, masked
    store (TABLE + 12), 1
    store (TABLE + 8), \message
    store (TABLE + 12), \masked
    .endm
    .macro begin_read sector
    movl $\sector, %eax
    call submit
    .endm
    # Waits until a count is a value.
    .macro await count, value
    movl $\value, (WANTED)
    movw $\count, %si
    call wait
    .endm
    .macro expect count, value
    cmpl $\value, (\count)
    jne wrong
    .endm

    .code16
    .globl _start
_start:
    big_segments
    xorl %eax, %eax
    movl %eax, (QUEUE_COUNT)
    movl %eax, (CONFIG_COUNT)
    movl %eax, (OTHER_COUNT)
    vector 0x40, queue_interrupt
    vector 0x41, config_interrupt
    vector 0x42, other_interrupt
    out 0x21, 0xff
    out 0xa1, 0xff
    apic_write 0xf0, 0x1ff
    pci_write 0x10, PORT
    pci_write 0x14, TABLE
    pci_write 0x20, MODERN
    pci_write 0x24, 0
    pci_write 0x04, 7
    call find_msix
    movl $0x80000000, %ebp
    call msix_control
    store TABLE, 0xfee00000
    store (TABLE + 4), 0
    store (TABLE + 16), 0xfee00000
    store (TABLE + 20), 0
    store (TABLE + 24), 0x41
    store (TABLE + 28), 0
    queue_vector 0x40, 0
    call start

    begin_read 0
    await QUEUE_COUNT, 1
    say text_read
    call print_data

    # A masked vector: the message waits, and its bit is set.
    queue_vector 0x40, 1
    begin_read 1
    call await_used
    call await_pending
    expect QUEUE_COUNT, 1
    say text_masked
    call print_data
    store (TABLE + 12), 0
    await QUEUE_COUNT, 2
    call expect_nothing_pending

    # The mask of the function, the same.
    movl $0xc0000000, %ebp
    call msix_control
    begin_read 2
    call await_used
    call await_pending
    expect QUEUE_COUNT, 2
    say text_function
    call print_data
    movl $0x80000000, %ebp
    call msix_control
    await QUEUE_COUNT, 3
    call expect_nothing_pending

    # Another message in the same vector, and back.
    queue_vector 0x42, 0
    begin_read 3
    await OTHER_COUNT, 1
    say text_other
    call print_data
    queue_vector 0x40, 0
    begin_read 4
    await QUEUE_COUNT, 4
    expect OTHER_COUNT, 1
    call print_data

    # A reset while the descriptor is in use and a request may be under way. Nothing interrupts afterwards.
    movl $20, (ROUNDS)
1:  begin_read 5
    movw $(PORT + 18), %dx
    xorb %al, %al
    outb %al, %dx
2:  inb %dx, %al
    testb %al, %al
    jnz 2b
    # What the former driver's request had sent: a host may take its time between the descriptor and the interrupt.
    movw $500, %cx
    sti
3:  inb %dx, %al
    loop 3b
    cli
    movl $0, (QUEUE_COUNT)
    call start
    begin_read 6
    await QUEUE_COUNT, 1
    sti
    nop
    cli
    expect QUEUE_COUNT, 1
    decl (ROUNDS)
    jnz 1b
    say text_reset
    call print_data

    # The configuration's vector.
    expect CONFIG_COUNT, 0
    say text_resize
    await CONFIG_COUNT, 1
    movl $128, (WANTED)
    call check_capacity

    # Many, and none may be lost.
    movl $0, (QUEUE_COUNT)
1:  movl (QUEUE_COUNT), %eax
    incl %eax
    movl %eax, (WANTED)
    movl $7, %eax
    call submit
    movw $QUEUE_COUNT, %si
    call wait
    cmpl $200, (QUEUE_COUNT)
    jb 1b
    say text_many
    call print_data
    say text_resize
    await CONFIG_COUNT, 2
    movl $256, (WANTED)
    call check_capacity
    expect QUEUE_COUNT, 200
    out 0xf4, 0x20
1:  hlt
    jmp 1b

wrong:
    say text_wrong
    out 0xf4, 1
    hlt

    # EBX: configuration address of the MSI-X capability.
find_msix:
    movl $(DEVICE | 0x34), %ebx
    call config_read
1:  andl $0xfc, %eax
    jz wrong
    movl $DEVICE, %ebx
    orl %eax, %ebx
    call config_read
    cmpb $0x11, %al
    je 2f
    shrl $8, %eax
    jmp 1b
2:  ret
config_read:
    movl %ebx, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movw $0xcfc, %dx
    inl %dx, %eax
    ret
    # EBP: bits 31 (enable) and 30 (function mask) of the capability.
msix_control:
    movl %ebx, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movl %ebp, %eax
    movw $0xcfc, %dx
    outl %eax, %dx
    ret

    # The driver's part of 3.1.1, by the legacy registers; an empty ring whose descriptors are those of a read.
start:
    movl $RING, %edi
    movl $0x800, %ecx
    xorl %eax, %eax
    cld
    addr32 rep stosl
    store RING, HEADER
    store (RING + 8), 16
    store (RING + 12), 0x00010001   # goes on with 1
    store (RING + 16), DATA
    store (RING + 24), 512
    store (RING + 28), 0x00020003   # written, goes on with 2
    store (RING + 32), STATUS
    store (RING + 40), 1
    store (RING + 44), 2            # written
    out (PORT + 18), 3              # ACKNOWLEDGE, DRIVER
    movw $(PORT + 4), %dx           # no features
    xorl %eax, %eax
    outl %eax, %dx
    port_write 14, 0
    movw $(PORT + 12), %dx
    inw %dx, %ax
    cmpw $16, %ax
    jne wrong
    movl $(RING >> 12), %eax
    movw $(PORT + 8), %dx
    outl %eax, %dx
    port_write 20, 1
    port_write 22, 0
    out (PORT + 18), 7              # DRIVER_OK
    ret

    # Begins to read sector EAX.
submit:
    movl $HEADER, %edi
    movl $0, (%edi)
    movl $0, 4(%edi)
    movl %eax, 8(%edi)
    movl $0, 12(%edi)
    movb $0xff, 16(%edi)
    movl $(RING + 0x100), %edi
    incw 2(%edi)                    # all entries of the ring are 0
    port_write 16, 0
    ret
await_used:
    movl $RING, %edi
1:  pause
    movw 0x102(%edi), %ax
    cmpw 0x1002(%edi), %ax
    jne 1b
    ret
await_pending:
    movl $(TABLE + 0x800), %edi
1:  pause
    testb $1, (%edi)
    jz 1b
    ret
expect_nothing_pending:
    movl $(TABLE + 0x800), %edi
    testb $3, (%edi)
    jnz wrong
    ret
check_capacity:
    movw $(PORT + 24), %dx
    inl %dx, %eax
    cmpl (WANTED), %eax
    jne wrong
    ret
    # Halts until the count at SI is WANTED; more is wrong.
wait:
    cli
    movl (WANTED), %eax
1:  cmpl %eax, (%si)
    ja wrong
    je 2f
    sti
    hlt
    cli
    jmp 1b
2:  ret

    # The line at the start of the sector, if the device says that it has read it.
print_data:
    movl $STATUS, %edi
    cmpb $0, (%edi)
    jne wrong
    movl $DATA, %edi
    movw $0x3f8, %dx
1:  movb (%edi), %al
    outb %al, %dx
    incl %edi
    cmpb $'\n', %al
    jne 1b
    ret

    .macro counts name, count
\name:
    pushal
    incl (\count)
    apic_write 0xb0, 0
    popal
    iretw
    .endm
    counts queue_interrupt, QUEUE_COUNT
    counts config_interrupt, CONFIG_COUNT
    counts other_interrupt, OTHER_COUNT

text_read:
    .asciz "read: "
text_masked:
    .asciz "masked: "
text_function:
    .asciz "function masked: "
text_other:
    .asciz "other message: "
text_reset:
    .asciz "reset: "
text_resize:
    .asciz "resize\n"
text_many:
    .asciz "many: "
text_wrong:
    .asciz "wrong\n"
    real_mode_support

    .org 0xfff0
    ljmpw $0xf000, $_start
    .org 0x10000
