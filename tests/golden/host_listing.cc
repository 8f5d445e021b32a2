#include "tests/golden/host_listing.h"

#include <capstone/capstone.h>
#include <fmt/format.h>

#include <map>
#include <vector>

namespace rhea::golden {

namespace {

struct Line {
    std::uint64_t address = 0;
    std::string mnemonic;
    std::string operands;
    std::string marker;  ///< the part of `operands` that stands for `target`; empty: none
    std::uint64_t target = 0;
    bool constant = false;  ///< `target` is an immediate, which need not be an address
    bool call = false;
    bool nop = false;
};

/// Finds what in the operands depends on where the code lies.
void find_target(Line& line, const cs_insn& insn) {
    const cs_x86& x86 = insn.detail->x86;
    for (unsigned i = 0; i < insn.detail->groups_count; ++i) {
        line.call |= insn.detail->groups[i] == CS_GRP_CALL;
    }
    line.nop = insn.id == X86_INS_NOP;
    for (unsigned i = 0; i < x86.op_count; ++i) {
        const cs_x86_op& op = x86.operands[i];
        if (op.type == X86_OP_MEM && op.mem.base == X86_REG_RIP) {
            line.target =
                insn.address + insn.size + static_cast<std::uint64_t>(std::int64_t{op.mem.disp});
            const std::size_t at = line.operands.find("[rip");
            line.marker = line.operands.substr(at, line.operands.find(']', at) + 1 - at);
            return;
        }
    }
    const bool branch = insn.mnemonic[0] == 'j' || line.call;
    if (x86.op_count == 1 && x86.operands[0].type == X86_OP_IMM && branch) {
        line.target = static_cast<std::uint64_t>(x86.operands[0].imm);
        line.marker = line.operands;
    } else if (insn.id == X86_INS_MOVABS && x86.op_count == 2 &&
               x86.operands[1].type == X86_OP_IMM) {
        line.target = static_cast<std::uint64_t>(x86.operands[1].imm);
        line.marker = line.operands.substr(line.operands.rfind(' ') + 1);
        line.constant = true;
    }
}

std::vector<Line> decode(std::span<const std::uint8_t> code, std::uint64_t address) {
    std::vector<Line> lines;
    csh handle = 0;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) {
        return lines;
    }
    cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
    cs_insn* insn = cs_malloc(handle);
    const std::uint8_t* p = code.data();
    std::size_t left = code.size();
    while (left != 0) {
        if (cs_disasm_iter(handle, &p, &left, &address, insn)) {
            Line line{.address = insn->address,
                      .mnemonic = insn->mnemonic,
                      .operands = insn->op_str,
                      .marker = {}};
            find_target(line, *insn);
            lines.push_back(std::move(line));
        } else {
            lines.push_back({.address = address,
                             .mnemonic = ".byte",
                             .operands = fmt::format("0x{:02x}", *p),
                             .marker = {}});
            ++p;
            ++address;
            --left;
        }
    }
    cs_free(insn, 1);
    cs_close(&handle);
    return lines;
}

}  // namespace

HostListing list_host_code(std::span<const std::uint8_t> code, std::uint64_t address,
                           const Namer& namer) {
    const std::vector<Line> lines = decode(code, address);
    std::map<std::uint64_t, unsigned> labels;
    for (const Line& line : lines) {
        // The end counts as inside: an empty jump goes there.
        if (!line.marker.empty() && line.target - address <= code.size()) {
            labels[line.target] = 0;
        }
    }
    unsigned number = 0;
    for (auto& label : labels) {
        label.second = ++number;
    }
    HostListing listing;
    listing.bytes = static_cast<unsigned>(code.size());
    for (const Line& line : lines) {
        if (const auto label = labels.find(line.address); label != labels.end()) {
            listing.text += fmt::format("L{}:\n", label->second);
        }
        std::string operands = line.operands;
        if (!line.marker.empty()) {
            const auto label = labels.find(line.target);
            std::string name = label != labels.end() ? fmt::format("L{}", label->second)
                               : namer != nullptr    ? namer(line.target)
                                                     : "";
            if (name.empty() && !line.constant) {
                name = "<elsewhere>";
            }
            if (!name.empty()) {
                if (line.marker[0] == '[') {
                    name = "[" + name + "]";
                }
                operands.replace(operands.find(line.marker), line.marker.size(), name);
            }
        }
        listing.text += "    " + line.mnemonic + (operands.empty() ? "" : " " + operands) + "\n";
        listing.instructions += line.nop || line.mnemonic == ".byte" ? 0 : 1;
        listing.calls += line.call ? 1 : 0;
    }
    if (const auto label = labels.find(address + code.size()); label != labels.end()) {
        listing.text += fmt::format("L{}:\n", label->second);
    }
    return listing;
}

}  // namespace rhea::golden
