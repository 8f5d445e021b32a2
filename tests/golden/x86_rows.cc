// The producer "x86-row-calls". Input: "class: integer" (sse, mmx, x87, system). Output: the rows of
// that class whose hot path calls a thunk or helper and comes back, in plain encodings: register and
// memory form, 32-bit operands, and REP for string instructions. 64-bit code at CPL 0 where the row
// exists there. An instruction that sets the flags stands before each, as in most code: what flags from
// before the block cost is in x86_flags.golden and x86_integer.golden.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "target/x86/decode/decode.h"
#include "tests/golden/fixture.h"
#include "tests/golden/producers.h"
#include "tests/golden/x86_code.h"

namespace rhea::golden {

namespace {

using namespace target::x86;

enum class Form : std::uint8_t { kRegister, kMemory, kRep };
constexpr std::uint8_t kSetFlags[] = {0x39, 0xc8};  ///< cmp eax, ecx
constexpr std::string_view kFormNames[] = {"register", "memory", "rep"};

std::string_view class_of(const Row& row) {
    if ((row.flags & (kRowPriv | kRowProt | kRowFpuSave | kRowXsave | kRowNatural)) != 0) {
        return "system";
    }
    if ((row.flags & kRowX87) != 0) {
        return "x87";
    }
    if ((row.flags & kRowMmx) != 0) {
        return "mmx";
    }
    return (row.flags & (kRowSse | kRowAvx)) != 0 ? "sse" : "integer";
}

bool has_operand(const Row& row, OperandKind kind) {
    return std::any_of(row.operands.begin(), row.operands.end(),
                       [kind](const OperandSpec& o) { return o.kind == kind; });
}

/// Bytes of the row's instruction: operands are the first registers, [rbx], and 5 for immediates.
std::optional<std::vector<std::uint8_t>> encode(RowId id, Form form, bool code64) {
    const Row& row = kRows[id];
    std::vector<std::uint8_t> bytes;
    const std::uint32_t prefix = row.selection & sel::prefix_mask;
    const unsigned pp = prefix == sel::p66   ? 1
                        : prefix == sel::pF3 ? 2
                        : prefix == sel::pF2 ? 3
                                             : 0;
    constexpr std::uint8_t kPrefixes[] = {0, 0x66, 0xf3, 0xf2};
    const auto put = [&bytes](unsigned byte) { bytes.push_back(static_cast<std::uint8_t>(byte)); };
    if (form == Form::kRep) {
        if (!has_operand(row, OperandKind::kString) || pp != 0) {
            return std::nullopt;
        }
        put(0xf3);
    }
    const bool wide = (row.selection & sel::w_mask) == sel::w1;
    if ((row.selection & sel::vex) != 0) {
        const bool source = has_operand(row, OperandKind::kVecVex) || has_operand(row, OperandKind::kVexReg);
        const unsigned l = (row.selection & sel::l_mask) == sel::l1 ? 1 : 0;
        put(0xc4);
        put(0xe0 | static_cast<unsigned>(row.map));
        put((wide ? 0x80u : 0u) | (source ? 14u : 15u) << 3 | l << 2 | pp);
    } else {
        if (pp != 0) {
            put(kPrefixes[pp]);
        }
        if (wide) {
            put(0x48);
        }
        if (row.map != OpcodeMap::kOneByte) {
            put(0x0f);
        }
        if (row.map == OpcodeMap::k0F38 || row.map == OpcodeMap::k0F3A) {
            put(row.map == OpcodeMap::k0F38 ? 0x38 : 0x3a);
        }
    }
    put(row.opcode + ((row.selection & (sel::plus_cc | sel::plus_r)) != 0 ? 2u : 0u));
    if (needs_modrm(row.map, row.opcode)) {
        const auto field = [&row](std::uint32_t mask, unsigned shift, unsigned other) {
            const std::uint32_t value = row.selection & mask;
            return value != 0 ? (value >> shift) - 1 : other;
        };
        put((form == Form::kMemory ? 0u : 3u) << 6 | field(sel::ext_mask, sel::ext_shift, 2) << 3 |
            field(sel::rm_mask, sel::rm_shift, has_operand(row, OperandKind::kVsib) ? 4 : 3));
    } else if (form == Form::kMemory) {
        return std::nullopt;
    }
    bytes.resize(24, 5);
    const DecodeMode mode{
        .code64 = code64, .code32 = !code64, .real_or_vm86 = false, .features = FeatureSet::all()};
    Insn insn;
    if (decode(bytes.data(), bytes.size(), mode, insn) != DecodeStatus::kOk || insn.row_id != id) {
        return std::nullopt;
    }
    bytes.resize(insn.length);
    return bytes;
}

}  // namespace

util::Result<std::string> produce_x86_row_calls(std::string_view input) {
    constexpr std::string_view kKey = "class: ";
    const auto lines = lines_of(input);
    if (lines.size() != 1 || !lines[0].starts_with(kKey)) {
        return util::fail("the input is one line \"class: NAME\"");
    }
    const std::string wanted = lines[0].substr(kKey.size());
    const std::uint32_t long_mode = *mode_by_name("kernel64") | *mode_by_name("user64-avx");
    const std::uint32_t kernel64 = long_mode & ~(*mode_by_name("user64") & ~*mode_by_name("kernel64"));
    const std::uint32_t kernel32 = *mode_by_name("kernel32");
    X86Code translator;
    unsigned rows = 0, calling = 0;
    std::map<std::string, std::vector<std::string>> found;  // what it calls, by row
    for (RowId id = 0; id < kRowCount; ++id) {
        const Row& row = kRows[id];
        if (class_of(row) != wanted) {
            continue;
        }
        ++rows;
        bool calls = false, known = false;
        for (const Form form : {Form::kRegister, Form::kMemory, Form::kRep}) {
            const bool only32 = (row.selection & sel::mode_mask) == sel::i64;
            auto bytes = encode(id, form, !only32);
            if (!bytes) {
                continue;
            }
            bytes->insert(bytes->begin(), std::begin(kSetFlags), std::end(kSetFlags));
            known = true;
            const auto code = translator.translate({.mode = only32 ? kernel32 : kernel64, .bytes = *bytes});
            if (!code) {
                return util::fail("{} ({}): {}", row.mnemonic, kFormNames[static_cast<unsigned>(form)],
                                  code.error().message());
            }
            if (code->calls.empty()) {
                continue;
            }
            calls = true;
            std::string what;
            for (const std::string& call : code->calls) {
                what += (what.empty() ? "" : ", ") + call;
            }
            std::string name = fmt::format("{} {:02x} ({})", row.mnemonic, row.opcode,
                                           kFormNames[static_cast<unsigned>(form)]);
            auto& list = found[what];
            if (std::find(list.begin(), list.end(), name) == list.end()) {
                list.push_back(std::move(name));
            }
        }
        if (!known) {
            return util::fail("no plain encoding of {} {:02x} was found", row.mnemonic, row.opcode);
        }
        calling += calls ? 1 : 0;
    }
    if (rows == 0) {
        return util::fail("no row is of class \"{}\"", wanted);
    }
    std::string text = fmt::format("# {} rows, {} with calls\n", rows, calling);
    for (const auto& [what, list] : found) {
        text += what + ":\n";
        for (const std::string& name : list) {
            text += "    " + name + "\n";
        }
    }
    return text;
}

}  // namespace rhea::golden
