// block::FileAccess: the file below a format, with errors that name the image.
//
// Reads behind the file's end give zeroes, writes behind it make it longer (node.h).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "rhea/block/co_sync.h"
#include "rhea/block/node.h"

namespace rhea::block {

class FileAccess {
public:
    /// `filename`: for messages.
    FileAccess(std::shared_ptr<BlockNode> file, std::string filename)
        : file_(std::move(file)), filename_(std::move(filename)) {}

    BlockNode &node() const { return *file_; }
    const std::string &filename() const { return filename_; }
    std::uint64_t length() const { return file_->length(); }

    Task<Result<void>> read(std::uint64_t offset, const IoVector &to);
    Task<Result<void>> write(std::uint64_t offset, const IoVector &from);
    /// The same for a header or a table in memory.
    Task<Result<void>> read_bytes(std::uint64_t offset, void *to, std::size_t length);
    Task<Result<void>> write_bytes(std::uint64_t offset, const void *from, std::size_t length);
    /// Writes `length` bytes of `value`.
    Task<Result<void>> fill(std::uint64_t offset, std::uint8_t value, std::uint64_t length);
    Task<Result<void>> flush();
    /// Sets the file's length; new bytes are zero.
    Task<Result<void>> truncate(std::uint64_t length, Preallocation preallocation = Preallocation::kOff);
    /// Makes the file at least `length` bytes long.
    Task<Result<void>> grow(std::uint64_t length);

    /// What info() of a format's node that stands on this file says, for all formats.
    Task<Result<NodeInfo>> info_of(BlockNode &node) const;
    /// Writes a table of `count` entries of `width` bytes from `offset` on, in parts; `store` makes each, in order.
    Task<Result<void>> write_table(std::uint64_t offset, std::uint64_t count, unsigned width,
                                   std::function<void(std::uint8_t *at, std::uint64_t index)> store);

    /// A failure "<filename>: <sentence>" with the errno `code`.
    template <typename... Parts>
    [[nodiscard]] util::Failure fail(int code, fmt::format_string<Parts...> format, Parts &&...parts) const {
        return named(code, fmt::vformat(format, fmt::make_format_args(parts...)));
    }

private:
    util::Failure named(int code, std::string sentence) const;
    util::Failure within(const util::Error &error, const char *action, std::uint64_t offset) const;

    std::shared_ptr<BlockNode> file_;
    std::string filename_;
    CoMutex growth_;
};

} // namespace rhea::block
