#include "block/format/table_cache.h"

#include <algorithm>
#include <cstring>

namespace rhea::block {

const std::uint8_t *TableCache::find(const Table &table, std::uint64_t position) {
    const std::uint64_t in = position % page_bytes_;
    const auto found = by_offset_.find(table.offset + position - in);
    if (found == by_offset_.end() || found->second->size < page_size(table, position - in))
        return nullptr; // a shorter one: tables overlap in a damaged image
    if (found->second != pages_.begin())
        pages_.splice(pages_.begin(), pages_, found->second);
    return found->second->bytes.get() + in;
}

std::size_t TableCache::page_size(const Table &table, std::uint64_t start) const {
    return std::min<std::uint64_t>(page_bytes_, table.bytes - start);
}

std::uint64_t TableCache::in_page(const Table &table, std::uint64_t position) const {
    return std::min(page_bytes_ - position % page_bytes_, table.bytes - position);
}

Task<Result<const std::uint8_t *>> TableCache::load(Table table, std::uint64_t position) {
    if (const std::uint8_t *hit = find(table, position))
        co_return hit;
    co_await loading_.lock();
    if (!find(table, position)) { // else another coroutine has loaded it meanwhile
        auto done = co_await load_page(table, position - position % page_bytes_);
        if (!done) {
            loading_.unlock();
            co_return util::fail(done.error());
        }
    }
    // Whoever waits goes on inside unlock() and may load another page, so the page is looked for again behind it.
    loading_.unlock();
    if (const std::uint8_t *hit = find(table, position))
        co_return hit;
    co_return co_await load(table, position);
}

Task<Result<void>> TableCache::load_page(Table table, std::uint64_t start) {
    const std::size_t size = page_size(table, start);
    Page page{table.offset + start, size, std::make_unique<std::uint8_t[]>(size)};
    auto done = co_await file_.read_bytes(page.offset, page.bytes.get(), size);
    if (!done)
        co_return done;
    if (const auto shorter = by_offset_.find(page.offset); shorter != by_offset_.end()) {
        pages_.erase(shorter->second);
        by_offset_.erase(shorter);
    }
    if (pages_.size() >= max_pages_) {
        by_offset_.erase(pages_.back().offset);
        pages_.pop_back();
    }
    pages_.push_front(std::move(page));
    by_offset_[pages_.front().offset] = pages_.begin();
    co_return Result<void>{};
}

Task<Result<void>> TableCache::update(Table table, std::uint64_t position, const void *bytes, std::size_t length) {
    co_await loading_.lock();
    auto done = co_await file_.write_bytes(table.offset + position, bytes, length);
    if (done)
        patch(table, position, bytes, length);
    loading_.unlock();
    co_return done;
}

void TableCache::patch(const Table &table, std::uint64_t position, const void *bytes, std::size_t length) {
    const auto *from = static_cast<const std::uint8_t *>(bytes);
    while (length > 0) {
        const std::size_t piece = std::min<std::uint64_t>(length, in_page(table, position));
        if (const std::uint8_t *hit = find(table, position))
            std::memcpy(const_cast<std::uint8_t *>(hit), from, piece);
        from += piece;
        position += piece;
        length -= piece;
    }
}

void TableCache::clear() {
    pages_.clear();
    by_offset_.clear();
}

} // namespace rhea::block
