#include "tests/unit/tcg/x64/disassembly.h"

#include <capstone/capstone.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace rhea::tcg::x64 {

namespace {

constexpr const char* kNames64[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"};
constexpr const char* kNames8[] = {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"};

std::string number(std::uint64_t value) {
    return value < 10 ? fmt::format("{}", value) : fmt::format("0x{:x}", value);
}

std::string displacement(std::int64_t disp) {
    return disp == 0  ? ""
           : disp < 0 ? " - " + number(static_cast<std::uint64_t>(-disp))
                      : " + " + number(static_cast<std::uint64_t>(disp));
}

constexpr char kImmMark = '#';

std::uint64_t low_bytes(std::uint64_t value, unsigned size) {
    return size >= 8 ? value : value & ((std::uint64_t{1} << size * 8) - 1);
}

/// Does the printed operand equal an expectation made by imm_text()?
bool immediate_matches(const std::string& expected, const std::string& printed) {
    const unsigned size = static_cast<unsigned>(std::strtoul(expected.c_str() + 1, nullptr, 10));
    const std::uint64_t value =
        std::strtoull(expected.c_str() + expected.find(':') + 1, nullptr, 16);
    char* end = nullptr;
    const std::uint64_t got = printed[0] == '-' ? -std::strtoull(printed.c_str() + 1, &end, 0)
                                                : std::strtoull(printed.c_str(), &end, 0);
    return *end == 0 && low_bytes(got, size) == low_bytes(value, size);
}

}  // namespace

std::string reg_name(Gpr r, unsigned size) {
    const unsigned n = code(r);
    if (n >= 8) {
        return fmt::format("r{}{}", n, size == 8 ? "" : size == 4 ? "d" : size == 2 ? "w" : "b");
    }
    return size == 1   ? kNames8[n]
           : size == 2 ? std::string(kNames64[n] + 1)
           : size == 4 ? std::string("e") + (kNames64[n] + 1)
                       : kNames64[n];
}

std::string reg_name(Xmm r, unsigned l) {
    return fmt::format("{}mm{}", l != 0 ? 'y' : 'x', code(r));
}

std::string mem_text(const Mem& m, unsigned bytes) {
    std::string text;
    switch (bytes) {
        case 1:
            text = "byte ptr ";
            break;
        case 2:
            text = "word ptr ";
            break;
        case 4:
            text = "dword ptr ";
            break;
        case 8:
            text = "qword ptr ";
            break;
        case 16:
            text = "xmmword ptr ";
            break;
        case 32:
            text = "ymmword ptr ";
            break;
        default:
            break;
    }
    const std::string scaled =
        reg_name(m.index, 8) + (m.scale_log2 != 0 ? fmt::format("*{}", 1 << m.scale_log2) : "");
    switch (m.form) {
        case Mem::Form::kBase:
            return text + "[" + reg_name(m.base, 8) + displacement(m.disp) + "]";
        case Mem::Form::kBaseIndex:
            return text + "[" + reg_name(m.base, 8) + " + " + scaled + displacement(m.disp) + "]";
        case Mem::Form::kIndex:
            return text + "[" + scaled + displacement(m.disp) + "]";
        case Mem::Form::kAbsolute:
            return text + "[" + number(static_cast<std::uint64_t>(m.disp)) + "]";
        default:
            return text + "?";
    }
}

std::string imm_text(std::int64_t value, unsigned size) {
    return fmt::format("{}{}:{:x}", kImmMark, size, static_cast<std::uint64_t>(value));
}

Listing::Listing(std::size_t capacity)
    : memory_(capacity), assembler_({memory_.data(), memory_.data(), memory_.size()}) {
    csh handle = 0;
    if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) {
        ADD_FAILURE() << "capstone does not open";
    }
    handle_ = handle;
    insn_ = cs_malloc(handle);
}

Listing::~Listing() {
    cs_free(static_cast<cs_insn*>(insn_), 1);
    csh handle = handle_;
    cs_close(&handle);
}

std::vector<std::string> Listing::lines() {
    std::vector<std::string> result;
    const std::uint8_t* p = memory_.data() + start_;
    std::size_t left = assembler_.offset() - start_;
    std::uint64_t address = start_;
    auto* insn = static_cast<cs_insn*>(insn_);
    while (left != 0) {
        if (!cs_disasm_iter(handle_, &p, &left, &address, insn)) {
            result.push_back("(bad) " + hex());
            break;
        }
        std::string line = insn->mnemonic;
        if (insn->op_str[0] != 0) {
            line += std::string(" ") + insn->op_str;
        }
        result.push_back(line);
    }
    start_ = assembler_.offset();
    return result;
}

void Listing::check(const std::string& expected) {
    ASSERT_TRUE(assembler_.ok());
    const std::size_t begin = start_;
    const auto got = lines();
    ++checked_;
    bool same = got.size() == 1;
    if (same) {
        const std::size_t mark = expected.find(kImmMark);
        if (mark == std::string::npos) {
            same = got[0] == expected;
        } else {
            same = got[0].compare(0, mark, expected, 0, mark) == 0 &&
                   immediate_matches(expected.substr(mark), got[0].substr(mark));
        }
    }
    if (!same) {
        start_ = begin;
        ADD_FAILURE() << "expected: " << expected
                      << "\n     got: " << (got.empty() ? "nothing" : got[0]) << "   [" << hex()
                      << "]";
    }
    if (assembler_.offset() + 256 > assembler_.capacity()) {
        std::destroy_at(&assembler_);
        std::construct_at(&assembler_, CodeBuffer{memory_.data(), memory_.data(), memory_.size()});
        start_ = 0;
    }
}

std::string Listing::hex() {
    std::string text;
    for (; start_ < assembler_.offset(); ++start_) {
        text += fmt::format("{}{:02x}", text.empty() ? "" : " ", memory_[start_]);
    }
    return text;
}

const std::vector<Mem>& all_mems() {
    static const std::vector<Mem> mems = [] {
        std::vector<Mem> list;
        for (unsigned base = 0; base < 16; ++base) {
            for (std::int32_t disp : {0, 8, -8, 127, 128, -128, -129, 0x12345678, -0x7fffffff}) {
                list.push_back(ptr(gpr(base), disp));
            }
            for (unsigned index = 0; index < 16; ++index) {
                if (index == code(Gpr::rsp)) {
                    continue;
                }
                for (unsigned scale : {1u, 2u, 4u, 8u}) {
                    for (std::int32_t disp : {0, -16, 0x1000}) {
                        list.push_back(ptr(gpr(base), gpr(index), scale, disp));
                    }
                }
            }
        }
        for (unsigned index = 0; index < 16; ++index) {
            if (index != code(Gpr::rsp)) {
                list.push_back(ptr_index(gpr(index), 4, 0x40));
                list.push_back(ptr_index(gpr(index), 8, -0x400000));
            }
        }
        list.push_back(Mem::absolute(0x1000));
        list.push_back(Mem::absolute(0x7fffffff));
        return list;
    }();
    return mems;
}

const std::vector<Mem>& some_mems() {
    static const std::vector<Mem> mems = {
        ptr(Gpr::rax),
        ptr(Gpr::rbp),
        ptr(Gpr::rbp, 0x70),
        ptr(Gpr::rsp),
        ptr(Gpr::rsp, -4),
        ptr(Gpr::r8, 0x7f),
        ptr(Gpr::r12),
        ptr(Gpr::r13),
        ptr(Gpr::r15, 0x8000),
        ptr(Gpr::rbp, Gpr::rcx, 8, 0x25f4),
        ptr(Gpr::r13, Gpr::rax, 1),
        ptr(Gpr::rax, Gpr::r12, 2),
        ptr(Gpr::r12, Gpr::r13, 4, -128),
        ptr(Gpr::rsp, Gpr::rbp, 1, 16),
        ptr_index(Gpr::r9, 8, 0x100),
        Mem::absolute(0x12340),
    };
    return mems;
}

}  // namespace rhea::tcg::x64
