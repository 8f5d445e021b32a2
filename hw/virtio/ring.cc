#include "hw/virtio/ring.h"

#include <fmt/format.h>

#include <cstring>

namespace rhea::hw::virtio {
namespace {

constexpr std::size_t kSavedPiece = 16; ///< address, length

void save_buffer(const GuestBuffer &buffer, std::vector<std::uint8_t> &bytes) {
    for (const GuestPiece &piece : buffer.pieces()) {
        const std::uint64_t values[2] = {piece.addr, piece.length};
        const auto *raw = reinterpret_cast<const std::uint8_t *>(values);
        bytes.insert(bytes.end(), raw, raw + kSavedPiece);
    }
}

} // namespace

void Ring::set_broken(std::string why) {
    if (broken_.empty())
        broken_ = std::move(why);
}

Element *Ring::new_element() {
    if (free_.empty()) {
        elements_.push_back(std::make_unique<Element>());
        return elements_.back().get();
    }
    Element *element = free_.back();
    free_.pop_back();
    element->out.clear();
    element->in.clear();
    return element;
}

Element *Ring::pop() {
    if (!broken_.empty())
        return nullptr;
    const GuestMap map(memory_);
    Element *element = new_element();
    if (pop_into(map, *element))
        return element;
    free_.push_back(element);
    return nullptr;
}

void Ring::push(Element *element, std::uint32_t written) {
    if (broken_.empty()) {
        const GuestMap map(memory_);
        push_used(map, *element, written);
    }
    detach(element);
}

bool Ring::should_interrupt() { return broken_.empty() && wants_interrupt(GuestMap(memory_)); }

bool Ring::enable_notification() { return broken_.empty() && ask_for_notifications(GuestMap(memory_)); }

void Ring::disable_notification() {
    if (broken_.empty())
        refuse_notifications(GuestMap(memory_));
}

void Ring::detach(Element *element) {
    in_use_ -= std::min<unsigned>(in_use_, element->descriptors);
    free_.push_back(element);
}

bool Ring::check_piece(std::uint64_t addr, std::uint32_t length, const Element &element) {
    if (length == 0)
        set_broken(fmt::format("the buffer at {:#x} has no bytes", addr));
    else if (addr + length < addr)
        set_broken(fmt::format("the buffer of {} bytes at {:#x} does not end", length, addr));
    else if (element.out.pieces().size() + element.in.pieces().size() >= kMaxPieces)
        set_broken(fmt::format("a request has more than {} buffers", kMaxPieces));
    return broken_.empty();
}

bool Ring::add_buffer(const GuestMap &map, Element &element, std::uint64_t addr, std::uint32_t length, bool writable) {
    if (!writable && element.in.size() != 0) {
        set_broken("a buffer to read follows one to write");
        return false;
    }
    if (length == 0) {
        check_piece(addr, length, element);
        return false;
    }
    while (length > 0) {
        if (!check_piece(addr, length, element))
            return false;
        const GuestPiece piece = map.find(addr, length, writable);
        if (!piece) {
            set_broken(fmt::format("the buffer of {} bytes at {:#x} is not in RAM", length, addr));
            return false;
        }
        (writable ? element.in : element.out).append(piece);
        addr += piece.length;
        length -= static_cast<std::uint32_t>(piece.length);
    }
    return true;
}

GuestPiece Ring::indirect_table(const GuestMap &map, std::uint64_t addr, std::uint32_t length) {
    if (!setup_.indirect)
        set_broken("an indirect descriptor, which the driver did not negotiate");
    else if (length == 0 || length % sizeof(Descriptor) != 0)
        set_broken(fmt::format("an indirect table of {} bytes", length));
    else if (const GuestPiece table = map.find(addr, length, false, true))
        return table;
    else
        set_broken(fmt::format("the indirect table of {} bytes at {:#x} is not in RAM", length, addr));
    return {};
}

Ring::Descriptor Ring::descriptor(const GuestPiece &table, unsigned index) {
    Descriptor value;
    std::memcpy(&value, table.host + index * sizeof value, sizeof value);
    return value;
}

GuestPiece Ring::part(const GuestMap &map, core::hwaddr addr, std::size_t length, unsigned alignment, const char *what) {
    if (addr % alignment != 0) {
        set_broken(fmt::format("the {} at {:#x} is not aligned to {}", what, addr, alignment));
        return {};
    }
    const GuestPiece piece = map.ring(addr, length);
    if (!piece)
        set_broken(fmt::format("the {} of {} bytes at {:#x} is not in RAM", what, length, addr));
    return piece;
}

std::uint16_t Ring::load16(const GuestPiece &piece, std::size_t at) {
    return __atomic_load_n(reinterpret_cast<const std::uint16_t *>(piece.host + at), __ATOMIC_ACQUIRE);
}

void Ring::store16(const GuestPiece &piece, std::size_t at, std::uint16_t value) {
    __atomic_store_n(reinterpret_cast<std::uint16_t *>(piece.host + at), value, __ATOMIC_RELEASE);
    piece.mark_written(at, sizeof value);
}

void Ring::serialize(core::Archive &archive) {
    archive.field("broken", broken_);
}

void Ring::serialize_element(core::Archive &archive, Element &element) {
    archive.field("id", element.id);
    archive.field("descriptors", element.descriptors);
    for (GuestBuffer *buffer : {&element.out, &element.in}) {
        std::vector<std::uint8_t> bytes;
        save_buffer(*buffer, bytes);
        archive.bytes(buffer == &element.out ? "out" : "in", bytes, kMaxPieces * kSavedPiece);
        if (!archive.restoring() || !archive.ok())
            continue;
        if (bytes.size() % kSavedPiece != 0)
            archive.fail("a request's buffers are damaged");
        const GuestMap map(memory_);
        for (std::size_t at = 0; at + kSavedPiece <= bytes.size() && archive.ok(); at += kSavedPiece) {
            std::uint64_t values[2];
            std::memcpy(values, &bytes[at], kSavedPiece);
            const bool fits = values[1] <= UINT32_MAX && add_buffer(map, element, values[0], static_cast<std::uint32_t>(values[1]), buffer == &element.in);
            if (!fits)
                archive.fail("a request's buffer is not in RAM");
        }
    }
    if (archive.restoring()) {
        if (element.descriptors == 0 || element.descriptors > setup_.size || in_use_ + element.descriptors > setup_.size)
            archive.fail("a request takes more of the ring than there is");
        else
            in_use_ += element.descriptors;
    }
}

} // namespace rhea::hw::virtio
