// A BlockNode in memory for tests: counts and logs requests, fails the one that a test names, and knows what a flush has
// made safe, so that a test can look at what a crash would leave.
#pragma once
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "rhea/block/node.h"

namespace rhea::block::testing {

class MemoryBlockNode final : public BlockNode {
public:
    enum class Kind : std::uint8_t { kRead, kWrite, kWriteZeroes, kDiscard, kFlush, kTruncate };
    struct Logged {
        Kind kind;
        std::uint64_t offset = 0, length = 0;
        unsigned flags = 0;
    };

    explicit MemoryBlockNode(IoContext &context, std::uint64_t size = 0) : BlockNode(context, "memory"), bytes(size) {
        stable_ = bytes;
    }

    // ---- what the test sets and looks at ---------------------------------------------------------------------------
    std::vector<std::uint8_t> bytes; ///< as reads see them
    std::vector<Logged> log;
    /// Asked before each request, with its number from 0; an errno fails it.
    std::function<int(std::size_t number, const Logged &request)> fault;
    bool yields = false; ///< each request goes through the context's loop, so that others get between

    /// The `nth` request from now (0: the next) of `kind` (any, when empty) fails with `code`.
    void fail_request(std::size_t nth, int code, std::optional<Kind> kind = {}) {
        fault = [this, nth, code, kind, seen = std::size_t{0}](std::size_t, const Logged &request) mutable {
            return (!kind || *kind == request.kind) && seen++ == nth ? code : 0;
        };
    }
    std::size_t count(Kind kind) const {
        return static_cast<std::size_t>(std::count_if(log.begin(), log.end(), [=](const Logged &each) { return each.kind == kind; }));
    }
    /// What a crash now would leave: everything flushed, and of each later write (by sectors of 512 bytes, at random by
    /// `seed`) this or nothing. Seed 0: none of them.
    std::vector<std::uint8_t> after_crash(std::uint64_t seed) const {
        std::vector<std::uint8_t> image = stable_;
        std::mt19937_64 random(seed);
        for (const Unflushed &write : unflushed_)
            if (write.is_truncate) {
                if (seed != 0)
                    image.resize(static_cast<std::size_t>(write.offset)); // file lengths are journalled in order
            } else {
                for (std::size_t at = 0; at < write.bytes.size(); at += 512)
                    if (seed != 0 && random() % 2 == 0) {
                        const std::size_t size = std::min<std::size_t>(512, write.bytes.size() - at);
                        store(image, write.offset + at, write.bytes.data() + at, size);
                    }
            }
        return image;
    }
    std::size_t unflushed() const { return unflushed_.size(); }

    // ---- BlockNode ---------------------------------------------------------------------------------------------------
    std::uint64_t length() const override { return bytes.size(); }
    bool has_fua() const override { return true; }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to) override {
        auto begun = co_await begin({Kind::kRead, offset, to.size(), 0});
        if (!begun)
            co_return begun;
        to.fill(0, 0, to.size());
        if (offset < bytes.size())
            to.copy_from(0, bytes.data() + offset, static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), bytes.size() - offset)));
        co_return begun;
    }
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from, unsigned flags) override {
        auto begun = co_await begin({Kind::kWrite, offset, from.size(), flags});
        if (!begun)
            co_return begun;
        std::vector<std::uint8_t> data(static_cast<std::size_t>(from.size()));
        from.copy_to(0, data.data(), data.size());
        put(offset, std::move(data), flags);
        co_return begun;
    }
    Task<Result<void>> write_zeroes(std::uint64_t offset, std::uint64_t length, unsigned flags) override {
        auto begun = co_await begin({Kind::kWriteZeroes, offset, length, flags});
        if (begun)
            put(offset, std::vector<std::uint8_t>(static_cast<std::size_t>(length)), flags);
        co_return begun;
    }
    Task<Result<void>> discard(std::uint64_t offset, std::uint64_t length) override {
        auto begun = co_await begin({Kind::kDiscard, offset, length, 0});
        if (begun && offset < bytes.size())
            put(offset, std::vector<std::uint8_t>(static_cast<std::size_t>(std::min<std::uint64_t>(length, bytes.size() - offset))), 0);
        co_return begun;
    }
    Task<Result<void>> flush() override {
        auto begun = co_await begin({Kind::kFlush, 0, 0, 0});
        if (begun) {
            stable_ = bytes;
            unflushed_.clear();
        }
        co_return begun;
    }
    Task<Result<void>> truncate(std::uint64_t length, Preallocation) override {
        auto begun = co_await begin({Kind::kTruncate, length, 0, 0});
        if (begun) {
            bytes.resize(static_cast<std::size_t>(length));
            unflushed_.push_back({length, {}, true});
        }
        co_return begun;
    }

private:
    struct Unflushed {
        std::uint64_t offset;
        std::vector<std::uint8_t> bytes;
        bool is_truncate = false;
    };

    static void store(std::vector<std::uint8_t> &image, std::uint64_t offset, const std::uint8_t *from, std::size_t size) {
        if (image.size() < offset + size)
            image.resize(static_cast<std::size_t>(offset) + size);
        std::memcpy(image.data() + offset, from, size);
    }
    void put(std::uint64_t offset, std::vector<std::uint8_t> data, unsigned flags) {
        store(bytes, offset, data.data(), data.size());
        if (flags & kFua)
            store(stable_, offset, data.data(), data.size());
        else
            unflushed_.push_back({offset, std::move(data)});
    }
    Task<Result<void>> begin(Logged request) {
        const std::size_t number = log.size();
        log.push_back(request);
        const int code = fault ? fault(number, request) : 0;
        if (yields)
            co_await context().schedule();
        if (code != 0)
            co_return io_error(code, "injected fault");
        co_return Result<void>{};
    }

    std::vector<std::uint8_t> stable_;
    std::vector<Unflushed> unflushed_;
};

} // namespace rhea::block::testing
