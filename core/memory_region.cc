#include "rhea/core/memory.h"

#include <algorithm>
#include <cassert>

namespace rhea::core {

MemoryRegion::MemoryRegion(Kind kind, std::string name, std::uint64_t size)
    : kind_(kind), name_(std::move(name)), size_(size) {}

std::unique_ptr<MemoryRegion> MemoryRegion::container(std::string name, std::uint64_t size) {
    return std::unique_ptr<MemoryRegion>(new MemoryRegion(Kind::kContainer, std::move(name), size));
}

std::unique_ptr<MemoryRegion> MemoryRegion::ram(std::string name, RamBlock &block) {
    std::unique_ptr<MemoryRegion> region(new MemoryRegion(Kind::kRam, std::move(name), block.size()));
    region->block_ = &block;
    return region;
}

std::unique_ptr<MemoryRegion> MemoryRegion::rom(std::string name, RamBlock &block, IoHandler *on_write) {
    std::unique_ptr<MemoryRegion> region(new MemoryRegion(Kind::kRom, std::move(name), block.size()));
    region->block_ = &block;
    region->handler_ = on_write;
    region->readonly_ = true;
    return region;
}

std::unique_ptr<MemoryRegion> MemoryRegion::io(std::string name, std::uint64_t size, IoHandler &handler,
                                               AccessSizes sizes, bool handler_locks) {
    std::unique_ptr<MemoryRegion> region(new MemoryRegion(Kind::kIo, std::move(name), size));
    region->handler_ = &handler;
    region->sizes_ = sizes;
    region->handler_locks_ = handler_locks;
    return region;
}

std::unique_ptr<MemoryRegion> MemoryRegion::alias(std::string name, MemoryRegion &target, hwaddr target_offset,
                                                  std::uint64_t size) {
    std::unique_ptr<MemoryRegion> region(new MemoryRegion(Kind::kAlias, std::move(name), size));
    region->alias_target_ = &target;
    region->alias_offset_ = target_offset;
    target.aliases_of_me_.push_back(region.get());
    return region;
}

MemoryRegion::~MemoryRegion() {
    while (!children_.empty())
        remove(*children_.back());
    if (parent_)
        parent_->remove(*this);
    if (alias_target_)
        std::erase(alias_target_->aliases_of_me_, this);
    for (MemoryRegion *alias : aliases_of_me_)
        alias->alias_target_ = nullptr;
}

void MemoryRegion::add(hwaddr offset, MemoryRegion &child, int priority) {
    assert(!child.parent_ && "a region has one place; use an alias for a second one");
    child.parent_ = this;
    child.offset_ = offset;
    child.priority_ = priority;
    // Highest priority first; among equals the later added is seen.
    auto at = std::find_if(children_.begin(), children_.end(),
                           [&](const MemoryRegion *other) { return other->priority_ <= priority; });
    children_.insert(at, &child);
    changed();
}

void MemoryRegion::remove(MemoryRegion &child) {
    assert(child.parent_ == this);
    std::erase(children_, &child);
    child.parent_ = nullptr;
    changed();
}

void MemoryRegion::set_offset(hwaddr offset) {
    if (offset_ == offset)
        return;
    offset_ = offset;
    changed();
}

void MemoryRegion::set_enabled(bool enabled) {
    if (enabled_ == enabled)
        return;
    enabled_ = enabled;
    changed();
}

void MemoryRegion::set_size(std::uint64_t size) {
    if (size_ == size)
        return;
    size_ = size;
    changed();
}

void MemoryRegion::set_alias_offset(hwaddr target_offset) {
    if (alias_offset_ == target_offset)
        return;
    alias_offset_ = target_offset;
    changed();
}

void MemoryRegion::set_readonly(bool readonly) {
    if (readonly_ == readonly)
        return;
    readonly_ = readonly;
    changed();
}

} // namespace rhea::core
