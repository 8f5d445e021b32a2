// Every integer form x register x size x memory operand, disassembled by capstone and compared with
// a text that the test writes itself.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/tcg/x64/disassembly.h"

namespace rhea::tcg::x64 {
namespace {

constexpr const char* kCond[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                 "s", "ns", "p", "np", "l", "ge", "le", "g"};
constexpr const char* kAlu[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
constexpr const char* kShift[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", "", "sar"};

constexpr unsigned k1248 = 15, k248 = 14, k48 = 12;
constexpr unsigned kSizes[] = {1, 2, 4, 8};
constexpr std::int32_t kImms[] = {0, 1, -1, 127, -128, 128, -129, 0x7fff, 0x12345678};

/// Calls f(size) for the sizes in the mask (bit mask of the sizes' values).
template <class F>
void each_size(unsigned mask, F f) {
    for (unsigned size : kSizes) {
        if ((mask & size) != 0) {
            f(size);
        }
    }
}

using RegReg = void (*)(Assembler&, unsigned, Gpr, Gpr);
using RegMem = void (*)(Assembler&, unsigned, Gpr, const Mem&);
using MemReg = void (*)(Assembler&, unsigned, const Mem&, Gpr);

void check_rr(const std::string& name, unsigned sizes, RegReg emit) {
    Listing list;
    each_size(sizes, [&](unsigned size) {
        for (unsigned d = 0; d < 16; ++d) {
            for (unsigned s = 0; s < 16; ++s) {
                emit(list.a(), size, gpr(d), gpr(s));
                list.check(
                    fmt::format("{} {}, {}", name, reg_name(gpr(d), size), reg_name(gpr(s), size)));
            }
        }
    });
}

void check_rm(const std::string& name, unsigned sizes, RegMem emit,
              const std::vector<Mem>& mems = some_mems(), unsigned mem_bytes = 99) {
    Listing list;
    each_size(sizes, [&](unsigned size) {
        for (const Mem& m : mems) {
            for (unsigned d = 0; d < 16; ++d) {
                emit(list.a(), size, gpr(d), m);
                list.check(fmt::format("{} {}, {}", name, reg_name(gpr(d), size),
                                       mem_text(m, mem_bytes == 99 ? size : mem_bytes)));
            }
        }
    });
}

void check_mr(const std::string& name, unsigned sizes, MemReg emit,
              const std::vector<Mem>& mems = some_mems()) {
    Listing list;
    each_size(sizes, [&](unsigned size) {
        for (const Mem& m : mems) {
            for (unsigned s = 0; s < 16; ++s) {
                emit(list.a(), size, m, gpr(s));
                list.check(
                    fmt::format("{} {}, {}", name, mem_text(m, size), reg_name(gpr(s), size)));
            }
        }
    });
}

/// One operand, register and memory.
void check_unary(const std::string& name, unsigned sizes, void (*reg)(Assembler&, unsigned, Gpr),
                 void (*mem)(Assembler&, unsigned, const Mem&), const std::string& tail = "") {
    Listing list;
    each_size(sizes, [&](unsigned size) {
        for (unsigned r = 0; r < 16 && reg != nullptr; ++r) {
            reg(list.a(), size, gpr(r));
            list.check(name + " " + reg_name(gpr(r), size) + tail);
        }
        for (const Mem& m : some_mems()) {
            if (mem != nullptr) {
                mem(list.a(), size, m);
                list.check(name + " " + mem_text(m, size) + tail);
            }
        }
    });
}

TEST(AssemblerForms, Mov) {
    check_rr("mov", k1248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.mov(z, d, s); });
    check_rm(
        "mov", k1248, [](Assembler& a, unsigned z, Gpr d, const Mem& m) { a.mov(z, d, m); },
        all_mems());
    check_mr(
        "mov", k1248, [](Assembler& a, unsigned z, const Mem& m, Gpr s) { a.mov(z, m, s); },
        all_mems());
}

TEST(AssemblerForms, MovImmediate) {
    Listing list;
    each_size(k1248, [&](unsigned size) {
        for (std::int32_t imm : kImms) {
            for (const Mem& m : some_mems()) {
                list.a().mov(size, m, imm);
                list.check("mov " + mem_text(m, size) + ", " + imm_text(imm, size));
            }
            for (unsigned r = 0; r < 16 && size != 8; ++r) {
                list.a().mov(size, gpr(r), imm);
                list.check("mov " + reg_name(gpr(r), size) + ", " + imm_text(imm, size));
            }
        }
    });
    for (unsigned r = 0; r < 16; ++r) {
        for (std::uint64_t v : {0ull, 1ull, 0x7fffffffull, 0x80000000ull, 0xffffffffull}) {
            list.a().mov_imm(gpr(r), v);
            list.check("mov " + reg_name(gpr(r), 4) + ", " + imm_text(std::int64_t(v), 4));
        }
        for (std::uint64_t v : {0xffffffff80000000ull, ~0ull}) {
            list.a().mov_imm(gpr(r), v);
            list.check("mov " + reg_name(gpr(r), 8) + ", " + imm_text(std::int64_t(v), 8));
        }
        for (std::uint64_t v : {0x100000000ull, 0xffffffff7fffffffull, 0x123456789abcdef0ull}) {
            list.a().mov_imm(gpr(r), v);
            list.check("movabs " + reg_name(gpr(r), 8) + ", " + imm_text(std::int64_t(v), 8));
        }
    }
}

TEST(AssemblerForms, Alu) {
    Listing list;
    for (unsigned op = 0; op < 8; ++op) {
        const auto alu = static_cast<Alu>(op);
        const std::string name = kAlu[op];
        each_size(k1248, [&](unsigned size) {
            for (unsigned d = 0; d < 16; ++d) {
                const std::string dst = name + " " + reg_name(gpr(d), size) + ", ";
                for (unsigned s = 0; s < 16; ++s) {
                    list.a().alu(alu, size, gpr(d), gpr(s));
                    list.check(dst + reg_name(gpr(s), size));
                }
                for (std::int32_t imm : kImms) {
                    list.a().alu(alu, size, gpr(d), imm);
                    list.check(dst + imm_text(imm, size));
                }
                for (const Mem& m : some_mems()) {
                    list.a().alu(alu, size, gpr(d), m);
                    list.check(dst + mem_text(m, size));
                    list.a().alu(alu, size, m, gpr(d));
                    list.check(name + " " + mem_text(m, size) + ", " + reg_name(gpr(d), size));
                }
            }
            for (const Mem& m : some_mems()) {
                for (std::int32_t imm : kImms) {
                    list.a().alu(alu, size, m, imm);
                    list.check(name + " " + mem_text(m, size) + ", " + imm_text(imm, size));
                }
            }
        });
    }
    EXPECT_GT(list.checked(), 20000u);
}

TEST(AssemblerForms, NamedAluCallsTheRightOne) {
    Listing list;
    Assembler& a = list.a();
    a.add(4, Gpr::rcx, Gpr::rdx);
    a.or_(4, Gpr::rcx, 5);
    a.adc(8, Gpr::rcx, ptr(Gpr::rax));
    a.sbb(2, ptr(Gpr::rax), Gpr::rdx);
    a.and_(1, ptr(Gpr::rax), 7);
    a.sub(8, Gpr::r8, Gpr::r9);
    a.xor_(4, Gpr::r8, Gpr::r8);
    a.cmp(8, Gpr::rdi, 1);
    EXPECT_EQ(list.lines(),
              (std::vector<std::string>{"add ecx, edx", "or ecx, 5", "adc rcx, qword ptr [rax]",
                                        "sbb word ptr [rax], dx", "and byte ptr [rax], 7",
                                        "sub r8, r9", "xor r8d, r8d", "cmp rdi, 1"}));
}

TEST(AssemblerForms, Test) {
    check_rr("test", k1248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.test(z, d, s); });
    check_mr("test", k1248, [](Assembler& a, unsigned z, const Mem& m, Gpr s) { a.test(z, m, s); });
    Listing list;
    each_size(k1248, [&](unsigned size) {
        for (std::int32_t imm : kImms) {
            for (unsigned r = 0; r < 16; ++r) {
                list.a().test(size, gpr(r), imm);
                list.check("test " + reg_name(gpr(r), size) + ", " + imm_text(imm, size));
            }
            for (const Mem& m : some_mems()) {
                list.a().test(size, m, imm);
                list.check("test " + mem_text(m, size) + ", " + imm_text(imm, size));
            }
        }
    });
}

TEST(AssemblerForms, Extensions) {
    Listing list;
    for (unsigned d = 0; d < 16; ++d) {
        for (unsigned src : {1u, 2u, 4u}) {
            for (unsigned dst : {2u, 4u, 8u}) {
                if (src >= dst) {
                    continue;
                }
                const std::string sx =
                    std::string(src == 4 ? "movsxd " : "movsx ") + reg_name(gpr(d), dst) + ", ";
                for (unsigned s = 0; s < 16; ++s) {
                    list.a().movsx(dst, src, gpr(d), gpr(s));
                    list.check(sx + reg_name(gpr(s), src));
                }
                for (const Mem& m : some_mems()) {
                    list.a().movsx(dst, src, gpr(d), m);
                    list.check(sx + mem_text(m, src));
                }
            }
            const std::string zx =
                std::string(src == 4 ? "mov " : "movzx ") + reg_name(gpr(d), 4) + ", ";
            for (unsigned s = 0; s < 16; ++s) {
                list.a().movzx(src, gpr(d), gpr(s));
                list.check(zx + reg_name(gpr(s), src));
            }
            for (const Mem& m : some_mems()) {
                list.a().movzx(src, gpr(d), m);
                list.check(zx + mem_text(m, src));
            }
        }
    }
    for (auto [size, ax, dx] : {std::tuple{2u, "cbw", "cwd"}, std::tuple{4u, "cwde", "cdq"},
                                std::tuple{8u, "cdqe", "cqo"}}) {
        list.a().sign_extend_rax(size);
        list.check(ax);
        list.a().sign_fill_rdx(size);
        list.check(dx);
    }
}

TEST(AssemblerForms, OneOperand) {
    check_unary(
        "inc", k1248, [](Assembler& a, unsigned z, Gpr r) { a.inc(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.inc(z, m); });
    check_unary(
        "dec", k1248, [](Assembler& a, unsigned z, Gpr r) { a.dec(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.dec(z, m); });
    check_unary(
        "not", k1248, [](Assembler& a, unsigned z, Gpr r) { a.not_(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.not_(z, m); });
    check_unary(
        "neg", k1248, [](Assembler& a, unsigned z, Gpr r) { a.neg(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.neg(z, m); });
    check_unary(
        "mul", k1248, [](Assembler& a, unsigned z, Gpr r) { a.mul(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.mul(z, m); });
    check_unary(
        "imul", k1248, [](Assembler& a, unsigned z, Gpr r) { a.imul(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.imul(z, m); });
    check_unary(
        "div", k1248, [](Assembler& a, unsigned z, Gpr r) { a.div(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.div(z, m); });
    check_unary(
        "idiv", k1248, [](Assembler& a, unsigned z, Gpr r) { a.idiv(z, r); },
        [](Assembler& a, unsigned z, const Mem& m) { a.idiv(z, m); });
    check_unary(
        "push", 8, [](Assembler& a, unsigned, Gpr r) { a.push(r); },
        [](Assembler& a, unsigned, const Mem& m) { a.push(m); });
    check_unary(
        "pop", 8, [](Assembler& a, unsigned, Gpr r) { a.pop(r); },
        [](Assembler& a, unsigned, const Mem& m) { a.pop(m); });
    check_unary(
        "bswap", k48, [](Assembler& a, unsigned z, Gpr r) { a.bswap(z, r); }, nullptr);
    check_unary(
        "jmp", 8, [](Assembler& a, unsigned, Gpr r) { a.jmp(r); },
        [](Assembler& a, unsigned, const Mem& m) { a.jmp(m); });
    check_unary(
        "call", 8, [](Assembler& a, unsigned, Gpr r) { a.call(r); },
        [](Assembler& a, unsigned, const Mem& m) { a.call(m); });
    Listing list;
    for (std::int32_t imm : kImms) {
        list.a().push_imm(imm);
        list.check("push " + imm_text(imm, 4));
    }
}

TEST(AssemblerForms, Shifts) {
    Listing list;
    for (unsigned op = 0; op < 8; ++op) {
        if (op == 6) {
            continue;
        }
        const auto shift = static_cast<Shift>(op);
        const std::string name = std::string(kShift[op]) + " ";
        each_size(k1248, [&](unsigned size) {
            for (unsigned r = 0; r < 16; ++r) {
                list.a().shift_cl(shift, size, gpr(r));
                list.check(name + reg_name(gpr(r), size) + ", cl");
                list.a().shift(shift, size, gpr(r), 1);
                list.check(name + reg_name(gpr(r), size) + ", 1");
                list.a().shift(shift, size, gpr(r), 7);
                list.check(name + reg_name(gpr(r), size) + ", 7");
            }
            for (const Mem& m : some_mems()) {
                list.a().shift_cl(shift, size, m);
                list.check(name + mem_text(m, size) + ", cl");
                list.a().shift(shift, size, m, 1);
                list.check(name + mem_text(m, size) + ", 1");
                list.a().shift(shift, size, m, 5);
                list.check(name + mem_text(m, size) + ", 5");
            }
        });
    }
}

TEST(AssemblerForms, DoubleShifts) {
    Listing list;
    each_size(k248, [&](unsigned z) {
        for (unsigned s = 0; s < 16; ++s) {
            const std::string src = ", " + reg_name(gpr(s), z) + ", ";
            for (unsigned d = 0; d < 16; ++d) {
                const std::string dst = reg_name(gpr(d), z) + src;
                list.a().shld(z, gpr(d), gpr(s), 3);
                list.check("shld " + dst + "3");
                list.a().shrd(z, gpr(d), gpr(s), 9);
                list.check("shrd " + dst + "9");
                list.a().shld_cl(z, gpr(d), gpr(s));
                list.check("shld " + dst + "cl");
                list.a().shrd_cl(z, gpr(d), gpr(s));
                list.check("shrd " + dst + "cl");
            }
            for (const Mem& m : some_mems()) {
                const std::string dst = mem_text(m, z) + src;
                list.a().shld(z, m, gpr(s), 3);
                list.check("shld " + dst + "3");
                list.a().shrd(z, m, gpr(s), 9);
                list.check("shrd " + dst + "9");
                list.a().shld_cl(z, m, gpr(s));
                list.check("shld " + dst + "cl");
                list.a().shrd_cl(z, m, gpr(s));
                list.check("shrd " + dst + "cl");
            }
        }
    });
}

TEST(AssemblerForms, Multiply) {
    check_rr("imul", k248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.imul(z, d, s); });
    check_rm("imul", k248, [](Assembler& a, unsigned z, Gpr d, const Mem& m) { a.imul(z, d, m); });
    Listing list;
    each_size(k248, [&](unsigned z) {
        for (std::int32_t imm : kImms) {
            for (unsigned d = 0; d < 16; ++d) {
                const std::string dst = "imul " + reg_name(gpr(d), z) + ", ";
                list.a().imul(z, gpr(d), gpr(15 - d), imm);
                list.check(dst + reg_name(gpr(15 - d), z) + ", " + imm_text(imm, z));
                for (const Mem& m : some_mems()) {
                    list.a().imul(z, gpr(d), m, imm);
                    list.check(dst + mem_text(m, z) + ", " + imm_text(imm, z));
                }
            }
        }
    });
}

TEST(AssemblerForms, RegisterAndRegisterOrMemory) {
    struct Row {
        const char* name;
        unsigned sizes;
        RegReg rr;
        RegMem rm;
    };
    const Row rows[] = {
        {"bsf", k248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.bsf(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.bsf(z, d, s); }},
        {"bsr", k248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.bsr(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.bsr(z, d, s); }},
        {"tzcnt", k248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.tzcnt(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.tzcnt(z, d, s); }},
        {"lzcnt", k248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.lzcnt(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.lzcnt(z, d, s); }},
        {"popcnt", k248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.popcnt(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.popcnt(z, d, s); }},
        {"adcx", k48, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.adcx(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.adcx(z, d, s); }},
        {"adox", k48, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.adox(z, d, s); },
         [](Assembler& a, unsigned z, Gpr d, const Mem& s) { a.adox(z, d, s); }},
    };
    for (const Row& row : rows) {
        check_rr(row.name, row.sizes, row.rr);
        check_rm(row.name, row.sizes, row.rm);
    }
    check_rm(
        "lea", k248, [](Assembler& a, unsigned z, Gpr d, const Mem& m) { a.lea(z, d, m); },
        all_mems(), 0);
    check_rm("movbe", k248,
             [](Assembler& a, unsigned z, Gpr d, const Mem& m) { a.movbe(z, d, m); });
    check_mr("movbe", k248,
             [](Assembler& a, unsigned z, const Mem& m, Gpr s) { a.movbe(z, m, s); });
    check_rr("xadd", k1248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.xadd(z, d, s); });
    check_mr("xadd", k1248, [](Assembler& a, unsigned z, const Mem& m, Gpr s) { a.xadd(z, m, s); });
    check_rr("cmpxchg", k1248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.cmpxchg(z, d, s); });
    check_mr("cmpxchg", k1248,
             [](Assembler& a, unsigned z, const Mem& m, Gpr s) { a.cmpxchg(z, m, s); });
    check_rr("xchg", k1248, [](Assembler& a, unsigned z, Gpr d, Gpr s) { a.xchg(z, d, s); });
    check_mr("xchg", k1248, [](Assembler& a, unsigned z, const Mem& m, Gpr s) { a.xchg(z, m, s); });
}

TEST(AssemblerForms, BitTests) {
    constexpr const char* kNames[] = {"bt", "bts", "btr", "btc"};
    Listing list;
    for (unsigned op = 0; op < 4; ++op) {
        const auto bit_test = static_cast<BitTest>(op + 4);
        const std::string name = std::string(kNames[op]) + " ";
        each_size(k248, [&](unsigned z) {
            for (unsigned r = 0; r < 16; ++r) {
                for (unsigned s = 0; s < 16; ++s) {
                    list.a().bit_test(bit_test, z, gpr(r), gpr(s));
                    list.check(name + reg_name(gpr(r), z) + ", " + reg_name(gpr(s), z));
                }
                list.a().bit_test(bit_test, z, gpr(r), 9u);
                list.check(name + reg_name(gpr(r), z) + ", 9");
                for (const Mem& m : some_mems()) {
                    list.a().bit_test(bit_test, z, m, gpr(r));
                    list.check(name + mem_text(m, z) + ", " + reg_name(gpr(r), z));
                }
            }
            for (const Mem& m : some_mems()) {
                list.a().bit_test(bit_test, z, m, 7u);
                list.check(name + mem_text(m, z) + ", 7");
            }
        });
    }
}

TEST(AssemblerForms, Conditions) {
    Listing list;
    for (unsigned c = 0; c < 16; ++c) {
        const auto cond = static_cast<Cond>(c);
        for (unsigned r = 0; r < 16; ++r) {
            list.a().setcc(cond, gpr(r));
            list.check(fmt::format("set{} {}", kCond[c], reg_name(gpr(r), 1)));
            each_size(k248, [&](unsigned z) {
                const std::string cmov = fmt::format("cmov{} {}, ", kCond[c], reg_name(gpr(r), z));
                for (unsigned s = 0; s < 16; ++s) {
                    list.a().cmov(cond, z, gpr(r), gpr(s));
                    list.check(cmov + reg_name(gpr(s), z));
                }
                for (const Mem& m : some_mems()) {
                    list.a().cmov(cond, z, gpr(r), m);
                    list.check(cmov + mem_text(m, z));
                }
            });
        }
        for (const Mem& m : some_mems()) {
            list.a().setcc(cond, m);
            list.check(fmt::format("set{} {}", kCond[c], mem_text(m, 1)));
        }
    }
}

TEST(AssemblerForms, Sha) {
    struct Row {
        const char* name;
        ShaOp op;
    };
    constexpr Row kRows[] = {
        {"sha1nexte", ShaOp::sha1nexte},   {"sha1msg1", ShaOp::sha1msg1},
        {"sha1msg2", ShaOp::sha1msg2},     {"sha256rnds2", ShaOp::sha256rnds2},
        {"sha256msg1", ShaOp::sha256msg1}, {"sha256msg2", ShaOp::sha256msg2}};
    Listing list;
    for (unsigned d = 0; d < 16; ++d) {
        for (unsigned s = 0; s < 16; ++s) {
            const std::string operands = " " + reg_name(xmm(d)) + ", " + reg_name(xmm(s));
            for (const Row& row : kRows) {
                list.a().sha(row.op, xmm(d), xmm(s));
                list.check(row.name + operands);
            }
            list.a().sha1rnds4(xmm(d), xmm(s), s & 3);
            list.check("sha1rnds4" + operands + fmt::format(", {}", s & 3));
        }
    }
}

TEST(AssemblerForms, Crc32) {
    Listing list;
    each_size(k1248, [&](unsigned z) {
        for (unsigned d = 0; d < 16; ++d) {
            const std::string dst = "crc32 " + reg_name(gpr(d), z == 8 ? 8 : 4) + ", ";
            for (unsigned s = 0; s < 16; ++s) {
                list.a().crc32(z, gpr(d), gpr(s));
                list.check(dst + reg_name(gpr(s), z));
            }
            for (const Mem& m : some_mems()) {
                list.a().crc32(z, gpr(d), m);
                list.check(dst + mem_text(m, z));
            }
        }
    });
}

TEST(AssemblerForms, SecondBytes) {
    constexpr const char* kHigh[] = {"ah", "ch", "dh", "bh"};
    Listing list;
    Assembler& a = list.a();
    for (unsigned h = 0; h < 4; ++h) {
        const auto high = static_cast<HighByte>(4 + h);
        const std::string name = kHigh[h];
        for (unsigned r = 0; r < 4; ++r) {
            const std::string low = reg_name(gpr(r), 1);
            a.mov8(gpr(r), high);
            list.check("mov " + low + ", " + name);
            a.mov8(high, gpr(r));
            list.check("mov " + name + ", " + low);
            a.mov8(high, static_cast<HighByte>(4 + r));
            list.check("mov " + name + ", " + kHigh[r]);
            a.test8(high, static_cast<HighByte>(4 + r));
            list.check("test " + name + ", " + kHigh[r]);
            for (unsigned op = 0; op < 8; ++op) {
                const auto alu = static_cast<Alu>(op);
                const std::string alu_name = std::string(kAlu[op]) + " ";
                a.alu8(alu, high, gpr(r));
                list.check(alu_name + name + ", " + low);
                a.alu8(alu, gpr(r), high);
                list.check(alu_name + low + ", " + name);
                a.alu8(alu, high, static_cast<HighByte>(4 + r));
                list.check(alu_name + name + ", " + kHigh[r]);
                a.alu8(alu, high, static_cast<std::int8_t>(-3));
                list.check(alu_name + name + ", " + imm_text(-3, 1));
            }
        }
        for (unsigned r = 0; r < 8; ++r) {
            a.movzx8(gpr(r), high);
            list.check("movzx " + reg_name(gpr(r), 4) + ", " + name);
            a.movsx8(4, gpr(r), high);
            list.check("movsx " + reg_name(gpr(r), 4) + ", " + name);
            a.movsx8(2, gpr(r), high);
            list.check("movsx " + reg_name(gpr(r), 2) + ", " + name);
        }
        a.mov8(high, std::uint8_t{0x80});
        list.check("mov " + name + ", " + imm_text(0x80, 1));
        a.test8(high, std::uint8_t{0x80});
        list.check("test " + name + ", " + imm_text(0x80, 1));
        a.mov8(high, ptr(Gpr::rsi, Gpr::rbp, 4, 20));
        list.check("mov " + name + ", byte ptr [rsi + rbp*4 + 0x14]");
        a.mov8(ptr(Gpr::rsp), high);
        list.check("mov byte ptr [rsp], " + name);
        for (unsigned c = 0; c < 16; ++c) {
            a.setcc(static_cast<Cond>(c), high);
            list.check(fmt::format("set{} {}", kCond[c], name));
        }
    }
}

}  // namespace
}  // namespace rhea::tcg::x64
