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
    std::string frame;      ///< the part of `operands` that is off rbp; empty: none
    std::string frame_index;
    std::int32_t frame_offset = 0;
    bool call = false, jump = false, unconditional = false;
    bool nop = false;
    bool data = false;
};

/// A memory operand off rbp: its displacement, and what else is in it.
void find_frame(Line& line, const cs_x86& x86) {
    for (unsigned i = 0; i < x86.op_count; ++i) {
        const cs_x86_op& op = x86.operands[i];
        if (op.type != X86_OP_MEM || op.mem.base != X86_REG_RBP) {
            continue;
        }
        const std::size_t at = line.operands.find("[rbp"), end = line.operands.find(']', at);
        line.frame = line.operands.substr(at, end + 1 - at);
        line.frame_offset = static_cast<std::int32_t>(op.mem.disp);
        if (op.mem.index != X86_REG_INVALID) {
            const std::size_t star = line.frame.find('*'), name = line.frame.rfind(' ', star);
            const std::size_t last = line.frame.find_first_of(" ]", name + 1);
            line.frame_index = " + " + line.frame.substr(name + 1, last - name - 1);
        }
        return;
    }
}

/// Finds what in the operands depends on where the code lies.
void find_target(Line& line, const cs_insn& insn) {
    const cs_x86& x86 = insn.detail->x86;
    for (unsigned i = 0; i < insn.detail->groups_count; ++i) {
        line.call |= insn.detail->groups[i] == CS_GRP_CALL;
    }
    line.nop = insn.id == X86_INS_NOP;
    line.jump = insn.mnemonic[0] == 'j';
    line.unconditional = insn.id == X86_INS_JMP;
    find_frame(line, x86);
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

std::vector<Line> decode(std::span<const std::uint8_t> code, std::uint64_t address,
                         const ListingContext& context) {
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
                      .marker = {},
                      .frame = {},
                      .frame_index = {}};
            find_target(line, *insn);
            const bool call = line.call && !line.marker.empty();
            const std::uint64_t target = line.target;
            lines.push_back(std::move(line));
            const unsigned data = call && context.inline_data ? context.inline_data(target, p) : 0;
            if (data != 0 && data <= left) {
                std::string bytes;
                for (unsigned i = 0; i < data; ++i) {
                    bytes += fmt::format("{}{:02x}", i == 0 ? "" : " ", p[i]);
                }
                lines.push_back({.address = address,
                                 .mnemonic = ".data",
                                 .operands = bytes,
                                 .marker = {},
                                 .frame = {},
                                 .frame_index = {},
                                 .data = true});
                p += data;
                address += data;
                left -= data;
            }
        } else {
            lines.push_back({.address = address,
                             .mnemonic = ".byte",
                             .operands = fmt::format("0x{:02x}", *p),
                             .marker = {},
                             .frame = {},
                             .frame_index = {},
                             .data = true});
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

std::vector<HostLine> host_lines(std::span<const std::uint8_t> code, std::uint64_t address,
                                 const ListingContext& context) {
    const std::vector<Line> lines = decode(code, address, context);
    std::map<std::uint64_t, unsigned> labels;
    for (const Line& line : lines) {
        // The end counts as inside: an empty jump goes there.
        const bool named = context.namer != nullptr && !context.namer(line.target).empty();
        if (!line.marker.empty() && line.target - address <= code.size() && !named) {
            labels[line.target] = 0;
        }
    }
    unsigned number = 0;
    for (auto& label : labels) {
        label.second = ++number;
    }
    const auto label_at = [&](std::uint64_t at) {
        const auto label = labels.find(at);
        return label != labels.end() ? label->second : 0;
    };
    std::vector<HostLine> result;
    for (const Line& line : lines) {
        HostLine out{.address = line.address,
                     .label = label_at(line.address),
                     .text = {},
                     .target_name = {},
                     .target = line.constant ? 0 : line.target,
                     .call = line.call,
                     .jump = line.jump,
                     .unconditional = line.unconditional,
                     .nop = line.nop,
                     .data = line.data};
        std::string operands = line.operands;
        if (!line.marker.empty()) {
            const unsigned label = label_at(line.target);
            std::string name = label != 0                 ? fmt::format("L{}", label)
                               : context.namer != nullptr ? context.namer(line.target)
                                                          : "";
            if (label == 0) {
                out.target_name = name;
            }
            if (name.empty() && !line.constant) {
                name = "<elsewhere>";
            }
            if (!name.empty()) {
                if (line.marker[0] == '[') {
                    name = "[" + name + "]";
                }
                operands.replace(operands.find(line.marker), line.marker.size(), name);
            }
        } else if (!line.frame.empty() && context.frame_namer != nullptr) {
            const std::string name = context.frame_namer(line.frame_offset);
            if (!name.empty()) {
                operands.replace(operands.find(line.frame), line.frame.size(),
                                 "[" + name + line.frame_index + "]");
            }
        }
        out.text = line.mnemonic + (operands.empty() ? "" : " " + operands);
        result.push_back(std::move(out));
    }
    result.push_back({.address = address + code.size(),
                      .label = label_at(address + code.size()),
                      .text = {},
                      .target_name = {}});
    return result;
}

std::string format_line(const HostLine& line) {
    std::string text;
    if (line.label != 0) {
        text += fmt::format("L{}:\n", line.label);
    }
    if (!line.text.empty()) {
        text += "    " + line.text + "\n";
    }
    return text;
}

HostListing list_host_code(std::span<const std::uint8_t> code, std::uint64_t address,
                           const Namer& namer) {
    HostListing listing;
    listing.bytes = static_cast<unsigned>(code.size());
    for (const HostLine& line : host_lines(code, address, {.namer = namer, .frame_namer = {}, .inline_data = {}})) {
        listing.text += format_line(line);
        listing.instructions += line.nop || line.data || line.text.empty() ? 0 : 1;
        listing.calls += line.call ? 1 : 0;
    }
    return listing;
}

}  // namespace rhea::golden
