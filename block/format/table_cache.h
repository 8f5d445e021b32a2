// block::TableCache: pages of an image's tables in memory, loaded when used; the least recently used go first.
//
// A table is `bytes` bytes at `offset` of the file. Memory is bounded by the number of pages, whatever the image's size.
// Updates go to the file before they are seen here. A pointer from find() or load() is good until the next suspension.
#pragma once
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "block/format/file_access.h"

namespace rhea::block {

struct Table {
    std::uint64_t offset = 0, bytes = 0;
};

class TableCache {
public:
    TableCache(FileAccess &file, std::size_t page_bytes, std::size_t max_pages)
        : file_(file), page_bytes_(page_bytes), max_pages_(max_pages) {}

    /// The bytes from `position` of the table to the end of their page, when that is in memory; else null.
    const std::uint8_t *find(const Table &table, std::uint64_t position);
    /// The same, loaded when it is not.
    Task<Result<const std::uint8_t *>> load(Table table, std::uint64_t position);
    /// How many bytes from `position` lie in one page.
    std::uint64_t in_page(const Table &table, std::uint64_t position) const;

    /// Writes bytes of the table (any number) to the file and to what is in memory of them.
    Task<Result<void>> update(Table table, std::uint64_t position, const void *bytes, std::size_t length);
    /// Changes only what is in memory (the caller has written the file).
    void patch(const Table &table, std::uint64_t position, const void *bytes, std::size_t length);
    void clear();

private:
    struct Page {
        std::uint64_t offset;
        std::size_t size;
        std::unique_ptr<std::uint8_t[]> bytes;
    };
    using Pages = std::list<Page>;

    std::size_t page_size(const Table &table, std::uint64_t start) const;
    Task<Result<void>> load_page(Table table, std::uint64_t start);

    FileAccess &file_;
    std::size_t page_bytes_, max_pages_;
    Pages pages_; ///< most recently used first
    std::unordered_map<std::uint64_t, Pages::iterator> by_offset_;
    CoMutex loading_; ///< also held by update(), so that no page is read from the file while its bytes change there
};

} // namespace rhea::block
