#include "tests/golden/x86_names.h"

#include <fmt/format.h>

#include <cstddef>

namespace rhea::golden {

namespace {

using tcg::VcpuCold;
using tcg::VcpuHead;
using tcg::x64::Layout;

struct Part {
    const char* name;
    std::size_t offset;
    unsigned size;
};
constexpr Part kHead[] = {
    {"canonical_state", offsetof(VcpuHead, canonical_state), 8},
    {"host_sp", offsetof(VcpuHead, host_sp), 8},
    {"exit_request", offsetof(VcpuHead, exit_request), 4},
    {"exception_pending", offsetof(VcpuHead, exception_pending), 4},
    {"pc_page", offsetof(VcpuHead, pc_page), 8},
    {"cc_dst", offsetof(VcpuHead, cc_dst), 8},
    {"cc_src", offsetof(VcpuHead, cc_src), 8},
    {"cc_src2", offsetof(VcpuHead, cc_src2), 8},
    {"cc_op", offsetof(VcpuHead, cc_op), 4},
    {"guest_mxcsr", offsetof(VcpuHead, guest_mxcsr), 4},
    {"pc", offsetof(VcpuHead, pc), 8},
};
constexpr Part kCold[] = {
    {"window", offsetof(VcpuCold, window), 8},
    {"exit_site", offsetof(VcpuCold, exit_site), 8},
    {"slow_site", offsetof(VcpuCold, slow_site), 8},
    {"host_mxcsr", offsetof(VcpuCold, host_mxcsr), 4},
    {"lanes.address", offsetof(VcpuCold, lanes) + offsetof(tcg::LaneArea, address), 64},
    {"lanes.data", offsetof(VcpuCold, lanes) + offsetof(tcg::LaneArea, data), 32},
    {"lanes.mask", offsetof(VcpuCold, lanes) + offsetof(tcg::LaneArea, mask), 32},
};
constexpr Part kWindow[] = {
    {"read_tag", tcg::kReadTagOffset, tcg::kTlbEntries * 8},
    {"write_tag", tcg::kWriteTagOffset, tcg::kTlbEntries * 8},
    {"addend", tcg::kAddendOffset, tcg::kTlbEntries * 8},
    {"jump_cache", tcg::kJumpOffset, tcg::kJumpCacheEntries * 16},
};

}  // namespace

std::map<std::uint64_t, std::string> thunk_names(const tcg::x64::Thunks& thunks,
                                                 const tcg::GuestDescription& guest) {
    std::map<std::uint64_t, std::string> names;
    const auto put = [&names](const std::uint8_t* at, std::string name) {
        if (at != nullptr) {
            names.emplace(reinterpret_cast<std::uint64_t>(at), std::move(name));
        }
    };
    put(thunks.exit_next, "exit_next");
    put(thunks.exit_state, "exit_state");
    put(thunks.exit_next_at, "exit_next_at");
    put(thunks.exit_hot, "exit_hot");
    put(thunks.exit_chain, "exit_chain");
    put(thunks.exit_next_r10, "exit_next_r10");
    put(thunks.find_block, "find_block");
    put(thunks.stale_entry, "stale_entry");
    for (unsigned log2 = 0; log2 < thunks.load.size(); ++log2) {
        for (unsigned flags = 0; flags < thunks.load[log2].size(); ++flags) {
            const std::string suffix =
                fmt::format("{}{}{}", 8u << log2, (flags & tcg::kMemWriteIntent) != 0 ? ".write" : "",
                            (flags & tcg::kMemAlign16) != 0 ? ".aligned" : "");
            put(thunks.load[log2][flags], "load" + suffix);
            put(thunks.store[log2][flags], "store" + suffix);
        }
    }
    put(thunks.probe_write, "probe_write");
    put(thunks.lanes, "lanes");
    put(thunks.atomic, "atomic");
    put(thunks.evaluate_flags, "evaluate_flags");
    put(thunks.flags_to_raw, "flags_to_raw");
    put(thunks.carry_to_src2, "carry_to_src2");
    put(thunks.divide, "divide");
    put(thunks.x87_load, "x87_load");
    put(thunks.x87_save, "x87_save");
    put(thunks.x87_read, "x87_read");
    put(thunks.x87_write, "x87_write");
    put(thunks.raise, "raise");
    for (std::size_t n = 0; n < thunks.helpers.size(); ++n) {
        put(thunks.helpers[n], "helper." + std::string(guest.helpers[n].name));
    }
    return names;
}

StateNames::StateNames(const Layout& layout, const tcg::GuestDescription& guest) {
    const auto put = [this](std::int32_t at, std::string name, unsigned size) {
        fields_.emplace(at, Field{std::move(name), size});
    };
    for (const Part& part : kHead) {
        put(Layout::head(part.offset), part.name, part.size);
    }
    for (const Part& part : kCold) {
        put(layout.cold(part.offset), part.name, part.size);
    }
    for (const Part& part : kWindow) {
        put(Layout::window(static_cast<std::uint32_t>(part.offset)), part.name, part.size);
    }
    for (unsigned n = 0; n < 32; ++n) {
        put(layout.spill(n), n == tcg::x64::kArgSpill ? "argument" : fmt::format("spill.{}", n), 8);
    }
    for (unsigned n = 0; n < 16; ++n) {
        put(layout.vector_spill(n), fmt::format("vector_spill.{}", n), 32);
        put(layout.cold(offsetof(VcpuCold, host_regs)) + static_cast<std::int32_t>(8 * n),
            fmt::format("host_reg.{}", n), 8);
    }
    put(layout.x87_live, "x87_live", 4);
    put(layout.x87_image, "x87_image", tcg::kX87ImageSize);
    for (std::size_t n = 0; n < guest.slots.size(); ++n) {
        put(layout.slots[n].disp, "guest." + std::string(guest.slots[n].name),
            guest.slots[n].type == tcg::Type::kV128 ? 32 : tcg::type_bytes(guest.slots[n].type));
    }
}

std::string StateNames::operator()(std::int32_t displacement) const {
    auto field = fields_.upper_bound(displacement);
    if (field == fields_.begin()) {
        return {};
    }
    --field;
    const auto inside = static_cast<unsigned>(displacement - field->first);
    if (inside >= field->second.size) {
        return {};
    }
    return inside == 0 ? field->second.name : fmt::format("{}+{}", field->second.name, inside);
}

}  // namespace rhea::golden
