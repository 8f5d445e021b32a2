// The machine lock: device code runs under it, guest code does not.
//
// Recursive in effect: taking it in a thread that holds it is a no-op that nests, because a device
// may reach another device's registers through an AddressSpace.
#pragma once

namespace rhea::core {

class MachineLock {
public:
    static void acquire();
    /// Takes it when nobody else has it. For threads that others wait for while they hold it.
    [[nodiscard]] static bool try_acquire();
    static void release();
    static bool held_by_this_thread();
};

/// Holds the machine lock for a scope.
class MachineLockGuard {
public:
    MachineLockGuard() { MachineLock::acquire(); }
    ~MachineLockGuard() { MachineLock::release(); }
    MachineLockGuard(const MachineLockGuard &) = delete;
    MachineLockGuard &operator=(const MachineLockGuard &) = delete;
};

} // namespace rhea::core
