#include "block/core/ring.h"

#include <array>
#include <cerrno>

namespace rhea::block {
namespace {

constexpr unsigned kEntries = 128;

// One thread submits, and a completion does not interrupt it, only its waiting. Not DEFER_TASKRUN: such a ring's descriptor
// does not wake who polls it (Linux 6.18). Older kernels have less of it.
constexpr unsigned kFlagSets[] = {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_COOP_TASKRUN, 0};

bool has_operations() {
    io_uring_probe *probe = io_uring_get_probe();
    if (!probe)
        return false;
    bool all = true;
    for (const int operation : {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE})
        all = all && io_uring_opcode_supported(probe, operation);
    io_uring_free_probe(probe);
    return all;
}

} // namespace

std::unique_ptr<Ring> Ring::create() {
    std::unique_ptr<Ring> made(new Ring);
    made->ring_.ring_fd = -1;
    for (const unsigned flags : kFlagSets) {
        io_uring ring{};
        const int error = io_uring_queue_init(kEntries, &ring, flags);
        if (error == 0) {
            made->ring_ = ring;
            if (!has_operations())
                return nullptr;
            io_uring_ring_dontfork(&made->ring_);
            return made;
        }
        if (error != -EINVAL)
            return nullptr;
    }
    return nullptr;
}

Ring::~Ring() {
    if (ring_.ring_fd >= 0)
        io_uring_queue_exit(&ring_);
}

io_uring_sqe *Ring::next_entry() {
    io_uring_sqe *entry = io_uring_get_sqe(&ring_);
    if (!entry) {
        submit();
        entry = io_uring_get_sqe(&ring_);
    }
    return entry;
}

void Ring::queue(io_uring_sqe &entry, RingJob &job) {
    io_uring_sqe_set_data(&entry, &job);
    ++queued_;
}

void Ring::submit() {
    while (queued_ > 0) {
        const int taken = io_uring_submit(&ring_);
        if (taken < 0 && taken != -EINTR) {
            // EBUSY, EAGAIN: completions must be fetched first; the next turn tries again.
            return;
        }
        if (taken > 0)
            queued_ -= std::min(queued_, static_cast<unsigned>(taken));
    }
}

bool Ring::complete() {
    bool any = false;
    for (;;) {
        std::array<io_uring_cqe *, 32> done;
        const unsigned count = io_uring_peek_batch_cqe(&ring_, done.data(), done.size());
        if (count == 0)
            return any;
        std::array<RingJob *, 32> jobs;
        for (unsigned i = 0; i < count; ++i) {
            jobs[i] = static_cast<RingJob *>(io_uring_cqe_get_data(done[i]));
            jobs[i]->result = done[i]->res;
        }
        io_uring_cq_advance(&ring_, count); // before they go on and queue more
        for (unsigned i = 0; i < count; ++i)
            jobs[i]->waiter.resume();
        any = true;
    }
}

} // namespace rhea::block
