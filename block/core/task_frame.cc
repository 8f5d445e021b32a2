// Coroutine frames come and go with every request: free lists by size, one set a thread.
#include <array>
#include <cstddef>
#include <new>

#include "rhea/block/task.h"

namespace rhea::block {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPooled = false; // a pool would hide a frame that is used after its end
#else
constexpr bool kPooled = true;
#endif

constexpr std::size_t kStep = 64, kClasses = 32; ///< frames up to 2 KiB
constexpr unsigned kKeep = 256;                  ///< of each size

struct FreeFrame {
    FreeFrame *next;
};

/// Plain data, so that it may be used at any time of a thread's life; Cleaner empties it at the end.
struct FreeLists {
    std::array<FreeFrame *, kClasses> first;
    std::array<unsigned, kClasses> count;
    bool closed;
};
thread_local constinit FreeLists t_lists{};

struct Cleaner {
    bool armed = false;
    ~Cleaner() {
        t_lists.closed = true;
        for (FreeFrame *&first : t_lists.first)
            while (first) {
                FreeFrame *next = first->next;
                ::operator delete(first);
                first = next;
            }
    }
};
thread_local Cleaner t_cleaner;

std::size_t class_of(std::size_t size) { return (size + kStep - 1) / kStep - 1; }

} // namespace

void *allocate_frame(std::size_t size) {
    const std::size_t index = class_of(size);
    if (!kPooled || index >= kClasses)
        return ::operator new(size);
    if (FreeFrame *frame = t_lists.first[index]) {
        t_lists.first[index] = frame->next;
        --t_lists.count[index];
        return frame;
    }
    return ::operator new((index + 1) * kStep);
}

void free_frame(void *frame, std::size_t size) noexcept {
    const std::size_t index = class_of(size);
    if (!kPooled || index >= kClasses || t_lists.closed || t_lists.count[index] >= kKeep) {
        ::operator delete(frame);
        return;
    }
    t_cleaner.armed = true; // the first use in a thread registers the destructor
    auto *free = static_cast<FreeFrame *>(frame);
    free->next = t_lists.first[index];
    t_lists.first[index] = free;
    ++t_lists.count[index];
}

} // namespace rhea::block
