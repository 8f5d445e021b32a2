// The progress of a long command: a line that is written over itself (-p), or one line on SIGUSR1.
#pragma once
#include <chrono>
#include <cstdint>

namespace rhea::img {

class Progress {
  public:
    /// `shown`: -p. `total`: the amount of work, in any unit.
    Progress(bool shown, std::uint64_t total);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    void advance(std::uint64_t amount) { set(done_ + amount); }
    void set(std::uint64_t done);
    /// `total` may become known late.
    void set_total(std::uint64_t total) { total_ = total; }

  private:
    void print(bool now);
    double percent() const;

    bool shown_;
    std::uint64_t total_, done_ = 0;
    std::chrono::steady_clock::time_point printed_{};
};

}  // namespace rhea::img
