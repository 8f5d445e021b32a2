#include "rhea/core/machine_lock.h"

#include <cassert>
#include <mutex>

namespace rhea::core {
namespace {
// One machine a process: the lock is process-wide by design, like the process's signal handlers.
std::mutex g_lock;
thread_local unsigned t_depth = 0;
} // namespace

void MachineLock::acquire() {
    if (t_depth++ == 0)
        g_lock.lock();
}

bool MachineLock::try_acquire() {
    if (t_depth == 0 && !g_lock.try_lock())
        return false;
    ++t_depth;
    return true;
}

void MachineLock::release() {
    assert(t_depth > 0);
    if (--t_depth == 0)
        g_lock.unlock();
}

bool MachineLock::held_by_this_thread() { return t_depth != 0; }

} // namespace rhea::core
