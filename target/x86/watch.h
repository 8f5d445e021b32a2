// Data and I/O breakpoints of DR7 (SDM vol. 3, 17.2).
//
// Pages with a watched address never enter a TLB, so each access to them comes to a slow path or a helper, which asks here before it
// does anything. An access that hits stops its instruction, which is started again by itself (tcg::kRestartSingle); there hits are
// noted, and become #DB behind the instruction, a trap. vCPU thread only.
#pragma once
#include <array>
#include <cstdint>

namespace rhea::target::x86 {

struct Cpu;

struct Watch {
    struct Range {
        std::uint64_t first = 0, last = 0;
        std::uint8_t dr6 = 0;  ///< its bit there
        bool reads = false;    ///< not only stores
        bool operator==(const Range&) const = default;
    };
    std::array<Range, 4> data, ports;
    unsigned data_count = 0, port_count = 0;
    bool noting = false;       ///< hits are noted; else they stop the access
    std::uint8_t hits = 0;     ///< bits for DR6
    std::uint64_t pc = 0;      ///< where the instruction began that is run by itself
};

/// After any change of DR0 to DR3, DR7 or CR4.DE.
void update_watch(Cpu& cpu);

/// Is some byte of the page watched?
bool watched_page(const Watch& watch, std::uint64_t linear);

/// May this access be done now? False: it hits, and the instruction is to be started again (exception_pending is set).
bool access_watched(Cpu& cpu, std::uint64_t linear, unsigned size, bool write);
/// The same for helpers; throws the Fault that raise() makes a restart of.
void check_watched(Cpu& cpu, std::uint64_t linear, unsigned size, bool write);
void check_watched_port(Cpu& cpu, std::uint16_t port, unsigned size);

/// While it lives, hits are noted.
class NoteHits {
  public:
    explicit NoteHits(Watch& watch) : watch_(watch), before_(watch.noting) { watch.noting = true; }
    ~NoteHits() { watch_.noting = before_; }
    NoteHits(const NoteHits&) = delete;
    NoteHits& operator=(const NoteHits&) = delete;

  private:
    Watch& watch_;
    bool before_;
};

/// An instruction that is run by itself begins, and has ended: what it hit becomes #DB, or joins the #DB that is pending.
void begin_noting(Cpu& cpu);
void end_noting(Cpu& cpu);

}  // namespace rhea::target::x86
