// Makes every thread of the process forget instructions it has fetched but not yet executed.
//
// Code that was written, made unreachable and is about to be overwritten by other code needs this:
// another core may hold decoded bytes of it past the last jump (Intel SDM volume 3, 9.1.3
// "Handling Self- and Cross-Modifying Code"). The kernel does it by membarrier(2), command
// PRIVATE_EXPEDITED_SYNC_CORE, which interrupts only cores that run threads of this process.
//
// Threading: any thread.
#pragma once

namespace rhea::util {

/// Registers the process for sync_cores() (once; later calls cost nothing). False when the kernel
/// does not offer it: sync_cores() then uses a change of page protection, whose TLB shootdown
/// interrupts the same cores.
bool register_core_sync();

/// When it returns, every other thread has executed a serialising instruction since the call
/// began. Registers if need be. Microseconds; not for hot paths.
void sync_cores();

}  // namespace rhea::util
