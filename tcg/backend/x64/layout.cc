#include "tcg/backend/x64/layout.h"

#include <algorithm>

namespace rhea::tcg::x64 {

Layout::Layout(const GuestDescription &guest, std::uint32_t cold) : cold_offset(cold) {
    gpr_slot.fill(kNoSlot);
    xmm_slot.fill(kNoSlot);
    upper_slot.fill(kNoSlot);
    for (const SlotInfo &info : guest.slots) {
        SlotPlace place;
        place.disp = head(info.offset);
        place.type = info.type;
        slots.push_back(place);
    }
    const std::size_t integers = std::min(guest.pin_integer.size(), kPinnedGprs.size());
    for (std::size_t i = 0; i < integers; ++i) {
        const Slot slot = guest.pin_integer[i];
        slots[slot].gpr = static_cast<std::int8_t>(code(kPinnedGprs[i]));
        gpr_slot[code(kPinnedGprs[i])] = slot;
    }
    const std::size_t vectors = std::min<std::size_t>(guest.pin_vector.size(), kPinnedXmms);
    for (std::size_t i = 0; i < vectors; ++i) {
        const Slot slot = guest.pin_vector[i];
        slots[slot].xmm = static_cast<std::int8_t>(i);
        xmm_slot[i] = slot;
    }
    for (Slot slot = 0; slot < slots.size(); ++slot) {
        for (unsigned n = 0; n < vectors; ++n) {
            if (slots[slot].type != Type::kV128 || slots[slot].pinned() || slots[slot].disp != slots[xmm_slot[n]].disp + 16)
                continue;
            slots[slot].upper_of = static_cast<std::int8_t>(n);
            upper_slot[n] = slot;
        }
    }
    if (guest.x87 != nullptr) {
        x87_live = head(guest.x87->live);
        x87_image = head(guest.x87->image);
    }
    pc_page_slot = static_cast<Slot>(slots.size());
    slots.push_back({head(offsetof(VcpuHead, pc_page)), Type::kI64, -1, -1});
}

} // namespace rhea::tcg::x64
