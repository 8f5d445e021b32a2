// The memory of one vCPU's windows (layout: state.h).
//
// All windows show the same state pages (a memfd mapped at each); the rest of a window is its own
// and zero until written: see init_tables(). Where a memfd is refused there is one window only. Nothing is
// resident before it is used. What the arrays in a window mean is the owner's business.
//
// Threading: the memory belongs to the vCPU's thread, state words that others write (exit_request)
// apart. clear_tables() and the destructor: only when generated code does not run.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "rhea/tcg/state.h"
#include "rhea/util/result.h"

namespace rhea::tcg {

/// Makes the tables of a window that is all zero such that no address matches.
void init_tables(std::uint64_t window);
/// The same for a used one (anonymous private memory), and gives what they took back to the system.
void clear_tables(std::uint64_t window);

class WindowMemory {
  public:
    /// The largest state structure that fits.
    static constexpr std::size_t kMaxStateSize = kStatePagesSize - kStateOffset;

    /// `windows`: kWindows, or 1 to do without aliases. window_count() says what came of it. Fails
    /// with a sentence when the host has no memory.
    [[nodiscard]] static util::Result<std::unique_ptr<WindowMemory>> create(
        unsigned windows = kWindows);
    ~WindowMemory();
    WindowMemory(const WindowMemory&) = delete;
    WindowMemory& operator=(const WindowMemory&) = delete;

    /// Address of the state structure in window 0, where C++ code looks at it; zero at first.
    [[nodiscard]] void* state() const { return base_ + kStateOffset; }
    [[nodiscard]] unsigned window_count() const { return windows_; }
    /// Address of a window, aligned to its size.
    [[nodiscard]] std::uint64_t window_address(unsigned window) const {
        assert(window < windows_);
        return reinterpret_cast<std::uint64_t>(base_) + std::uint64_t{window} * kWindowSize;
    }
    /// What VcpuCold::window makes of the state register.
    [[nodiscard]] std::uint64_t state_register(unsigned window) const {
        return window_address(window) + kStateRegOffset;
    }
    /// A table in a window by its offset (kReadTagOffset, ...).
    [[nodiscard]] std::uint64_t* array(unsigned window, std::uint32_t offset) const {
        return reinterpret_cast<std::uint64_t*>(window_address(window) + offset);
    }
  private:
    WindowMemory(std::uint8_t* base, unsigned windows) : base_(base), windows_(windows) {}

    std::uint8_t* base_;
    unsigned windows_;
};

}  // namespace rhea::tcg
