#include <algorithm>
#include <bit>
#include <cassert>

#include "core/memory_transaction.h"
#include "rhea/core/memory.h"

namespace rhea::core {
namespace {

[[maybe_unused]] bool valid_sizes(const AccessSizes& sizes) {
    return std::has_single_bit(sizes.min) && std::has_single_bit(sizes.max) &&
           sizes.min <= sizes.max && sizes.max <= 8;
}

}  // namespace

MemoryRegion::MemoryRegion(Kind kind, std::string name, std::uint64_t size)
    : kind_(kind), name_(std::move(name)), size_(size) {}

std::unique_ptr<MemoryRegion> MemoryRegion::container(std::string name, std::uint64_t size) {
    return std::unique_ptr<MemoryRegion>(new MemoryRegion(Kind::kContainer, std::move(name), size));
}

std::unique_ptr<MemoryRegion> MemoryRegion::ram(std::string name, RamBlock& block) {
    std::unique_ptr<MemoryRegion> region(
        new MemoryRegion(Kind::kRam, std::move(name), block.size()));
    region->block_ = &block;
    return region;
}

std::unique_ptr<MemoryRegion> MemoryRegion::rom(std::string name, RamBlock& block,
                                                IoHandler* on_write) {
    std::unique_ptr<MemoryRegion> region(
        new MemoryRegion(Kind::kRom, std::move(name), block.size()));
    region->block_ = &block;
    region->handler_ = on_write;
    region->readonly_ = true;
    return region;
}

std::unique_ptr<MemoryRegion> MemoryRegion::io(std::string name, std::uint64_t size,
                                               IoHandler& handler, AccessSizes sizes,
                                               bool handler_locks) {
    // Else a narrow access at the end could not be widened without leaving the region.
    assert(valid_sizes(sizes) && size % sizes.min == 0);
    std::unique_ptr<MemoryRegion> region(new MemoryRegion(Kind::kIo, std::move(name), size));
    region->handler_ = &handler;
    region->sizes_ = sizes;
    region->handler_locks_ = handler_locks;
    return region;
}

std::unique_ptr<MemoryRegion> MemoryRegion::alias(std::string name, MemoryRegion& target,
                                                  hwaddr target_offset, std::uint64_t size) {
    std::unique_ptr<MemoryRegion> region(new MemoryRegion(Kind::kAlias, std::move(name), size));
    region->alias_target_ = &target;
    region->alias_offset_ = target_offset;
    target.aliases_of_me_.push_back(region.get());
    return region;
}

MemoryRegion::~MemoryRegion() {
    assert(spaces_.empty());
    MemoryTransaction transaction;
    for (MemoryRegion* alias : aliases_of_me_) {
        alias->changed();
        alias->alias_target_ = nullptr;
    }
    if (alias_target_ != nullptr) {
        std::erase(alias_target_->aliases_of_me_, this);
    }
    for (MemoryRegion* child : children_) {
        child->parent_ = nullptr;
    }
    if (parent_ != nullptr) {
        parent_->remove(*this);
    }
}

void MemoryRegion::add(hwaddr offset, MemoryRegion& child, int priority) {
    assert(child.parent_ == nullptr && &child != this);
    MemoryTransaction transaction;
    child.parent_ = this;
    child.offset_ = offset;
    child.priority_ = priority;
    auto place = std::ranges::find_if(
        children_, [&](const MemoryRegion* other) { return other->priority_ <= priority; });
    children_.insert(place, &child);
    changed();
}

void MemoryRegion::remove(MemoryRegion& child) {
    assert(child.parent_ == this);
    MemoryTransaction transaction;
    std::erase(children_, &child);
    child.parent_ = nullptr;
    changed();
}

void MemoryRegion::set_offset(hwaddr offset) {
    if (offset == offset_) {
        return;
    }
    offset_ = offset;
    changed();
}

void MemoryRegion::set_enabled(bool enabled) {
    if (enabled == enabled_) {
        return;
    }
    // Marked while the region is visible: what is invisible changes nothing.
    MemoryTransaction transaction;
    enabled_ = true;
    changed();
    enabled_ = enabled;
}

void MemoryRegion::set_size(std::uint64_t size) {
    if (block_ != nullptr) {
        size = std::min(size, block_->size());
    }
    if (size == size_) {
        return;
    }
    assert(kind_ != Kind::kIo || size % sizes_.min == 0);
    size_ = size;
    changed();
}

void MemoryRegion::set_alias_offset(hwaddr target_offset) {
    assert(kind_ == Kind::kAlias);
    if (target_offset == alias_offset_) {
        return;
    }
    alias_offset_ = target_offset;
    changed();
}

void MemoryRegion::set_readonly(bool readonly) {
    assert(kind_ == Kind::kRam || kind_ == Kind::kAlias);
    if (readonly == readonly_) {
        return;
    }
    readonly_ = readonly;
    changed();
}

void MemoryRegion::changed() {
    MemoryTransaction transaction;
    mark_spaces();
}

/// Marks every address space in which this region can be seen.
void MemoryRegion::mark_spaces() {
    if (marking_ || !enabled_) {
        return;
    }
    marking_ = true;
    for (AddressSpace* space : spaces_) {
        MemoryTransaction::mark_dirty(*space);
    }
    for (MemoryRegion* alias : aliases_of_me_) {
        alias->mark_spaces();
    }
    if (parent_ != nullptr) {
        parent_->mark_spaces();
    }
    marking_ = false;
}

}  // namespace rhea::core
