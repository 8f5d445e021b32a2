// Writes the man page: the fixed parts, and the options from the table that the program itself uses.
#include <fmt/format.h>

#include "command_line.h"
#include "version.h"

int main() {
    fmt::print(R"(.TH RHEA-SYSTEM-X86_64 1 "" "Rhea {0}" "Rhea"
.SH NAME
rhea\-system\-x86_64 \- a PC emulator with KVM acceleration and a translator
.SH SYNOPSIS
.B rhea\-system\-x86_64
.RI [ options ]
.SH DESCRIPTION
Emulates an x86_64 PC, or with \fB\-M microvm\fR a machine of virtio devices without PCI. Options have QEMU's names and meanings; \-\-name is accepted for \-name.
An option that QEMU has and this version has not is refused by name.
.SH OPTIONS
{1}.SH KEYS
During emulation with \fB\-nographic\fR, or on a character device with \fBmux=on\fR:
.TP
\fBCtrl\-A h\fR
print the keys
.TP
\fBCtrl\-A x\fR
exit the emulator
.TP
\fBCtrl\-A c\fR
turn from the serial port to the monitor, and back
.TP
\fBCtrl\-A b\fR
send a break (magic sysrq)
.TP
\fBCtrl\-A t\fR
timestamps in front of lines: on, off
.TP
\fBCtrl\-A Ctrl\-A\fR
send Ctrl\-A
.SH EXIT STATUS
.TP
\fB0\fR
the guest powered off, or the user or a signal ended the emulator
.TP
\fB1\fR
the emulator could not start; one sentence on standard error says why
.TP
other
a guest wrote \fIn\fR to isa\-debug\-exit: (\fIn\fR << 1) | 1
)",
               RHEA_VERSION, rhea::system::option_manual());
    return 0;
}
