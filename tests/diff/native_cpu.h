// Runs single instructions on the host CPU: a traced child process whose registers are set, which is stepped once,
// and whose registers are read back. Its faults are signals that it never sees.
#pragma once
#include "tests/diff/snapshot.h"

#include <string>
#include <sys/types.h>

namespace rhea::target::x86::diff {

class NativeCpu {
public:
    /// After the Arena is mapped. why_not() says why it cannot run at all, if it cannot.
    NativeCpu();
    ~NativeCpu();
    NativeCpu(const NativeCpu &) = delete;
    NativeCpu &operator=(const NativeCpu &) = delete;

    const std::string &why_not() const { return why_not_; }
    bool has(CodeSize size) const { return size != CodeSize::k16 || has_ldt_; }

    /// For the runs that follow. False: the host refuses.
    bool set_watch(const WatchPoint &watch);
    /// Sets the state and executes one instruction; to_breakpoint: instead as many as there are before an INT3 (single
    /// steps would show the inside of a repeated string instruction). selectors of `before` are filled in with what the host uses.
    Snapshot run(Snapshot &before, CodeSize size, bool to_breakpoint);

private:
    void start();
    void stop();
    bool go(bool one);

    pid_t child_ = -1;
    bool has_ldt_ = false;
    std::string why_not_;
};

} // namespace rhea::target::x86::diff
