// A drive's way to the host: its interrupt, and the bus master. Under the machine lock.
#pragma once
#include "rhea/core/types.h"

#include <cstdint>
#include <vector>

namespace rhea::hw {

class IdeHost {
public:
    /// intrq() may have changed.
    virtual void interrupt_changed() = 0;
    /// A drive waits for the bus master: run_dma() now, or once it is started.
    virtual void dma_ready() = 0;

    struct Segment {
        core::hwaddr address;
        std::uint32_t length;
    };
    /// Guest memory as the bus master's table lists it.
    struct Segments {
        std::vector<Segment> list;
        std::uint64_t bytes = 0;  ///< all together, the transfer's length at most
        bool exhausted = true;    ///< the table ends where the transfer does
        bool failed = false;      ///< the table itself cannot be read
    };
    virtual Segments dma_segments(std::uint64_t bytes) = 0;
    virtual bool dma_read(const Segments &from, std::uint8_t *to) = 0;
    virtual bool dma_write(const Segments &to, const std::uint8_t *from) = 0;
    /// The transfer is over. `failed`: memory did not answer.
    virtual void dma_end(bool exhausted, bool failed) = 0;

protected:
    ~IdeHost() = default;
};

} // namespace rhea::hw
