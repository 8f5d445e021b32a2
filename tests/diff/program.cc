#include "tests/diff/program.h"

#include "tests/diff/arena.h"
#include "tests/diff/flag_effects.h"
#include "tests/diff/sequence.h"
#include "tests/diff/vendor.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace rhea::target::x86::diff {
namespace {

// The writable pages: operands by pointers stay below the stack.
constexpr std::uint64_t kPointersFrom = 0x200, kPointersSize = 0x1600, kStackFrom = 0x1d00, kStackSize = 0x200;
constexpr int kMaxDisplacement = 0x1f0;
constexpr std::size_t kMaxBytes = 1000;

bool one_of(std::string_view name, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), name) != list.end();
}

bool is_stack(const Row &row) { return one_of(row.mnemonic, {"push", "pop", "pushf"}); }
bool divides(const Row &row) { return row.mnemonic == "div" || row.mnemonic == "idiv"; }

bool suits_programs(const Row &row) {
    const bool branch = row.operands[0].kind == OperandKind::kRel8 || row.operands[0].kind == OperandKind::kRelZ;
    return !branch && !one_of(row.mnemonic, {"jmp", "call"}) && (is_stack(row) || divides(row) || suits_sequences(row, false));
}

/// What kind of place a pointer leads to.
enum class Reach { kGood, kBad };

class Maker {
public:
    Maker(const ProgramRows &rows, CodeSize size, bool unmasked, Random &random)
        : rows_(rows), size_(size), unmasked_(unmasked), random_(random), extras_(Random(random).next()) {}

    Program make() {
        program_.floating = random_.one_in(5);
        choose_registers();
        set_registers();
        const unsigned pieces = 2 + random_.below(6);
        for (unsigned n = 0; n < pieces && program_.bytes.size() < kMaxBytes; n++) {
            piece();
        }
        put({0xcc});
        program_.pointers = pointers_;
        return std::move(program_);
    }

private:
    unsigned count() const { return size_ == CodeSize::k64 ? 16 : 8; }

    void choose_registers() {
        std::vector<std::uint8_t> pool = {kRbx, kRbp, kRsi};
        if (size_ == CodeSize::k64) {
            pool.insert(pool.end(), {kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15});
            for (std::size_t n = pool.size(); n > 1; n--) {
                std::swap(pool[n - 1], pool[random_.below(static_cast<unsigned>(n))]);
            }
            counter_ = pool[4];
            index_ = pool[3];
        } else {
            counter_ = kRdi;
            index_ = random_.one_in(2) ? pool[2] : kNoReg;
            pool.resize(index_ == kNoReg ? 3 : 2);
        }
        pointers_.assign(pool.begin(), pool.begin() + static_cast<long>(std::min<std::size_t>(pool.size(), 3)));
        bad_ = random_.one_in(2) ? pointers_.back() : kNoReg;
    }

    std::uint64_t base() const { return size_ == CodeSize::k16 ? 0 : kDataAddress; }

    std::uint64_t good_address() {
        const std::uint64_t offset = random_.one_in(4) ? 0x1000 - 64 + random_.below(128) : kPointersFrom + random_.below(kPointersSize);
        return base() + offset;
    }
    std::uint64_t bad_address() {
        const std::uint64_t read_only = base() + kReadOnlyAddress - kDataAddress;
        switch (random_.below(size_ == CodeSize::k64 ? 6 : 5)) {
        case 0: return read_only + kMaxDisplacement + random_.below(0x800);
        case 1: return read_only - random_.below(16);
        case 2: return read_only + kReadOnlySize - random_.below(32);
        case 3: return base() + 0x8000 + random_.below(0x1000);
        case 4: return read_only - 64 + random_.below(128);
        default: return (1ull << 63) + random_.below(0x1000);
        }
    }

    void set_registers() {
        Snapshot &s = program_.before;
        s = random_sequence_state(size_, random_);
        for (std::size_t n = 0; n < pointers_.size(); n++) {
            s.gpr[pointers_[n]] = good_address() & (n == 0 || random_.one_in(2) ? ~std::uint64_t{15} : ~std::uint64_t{0});
        }
        if (bad_ != kNoReg) {
            s.gpr[bad_] = bad_address();
        }
        if (index_ != kNoReg) {
            s.gpr[index_] = random_.one_in(2) ? 16 : random_.below(24);
        }
        if (unmasked_) { // but underflow (bit 11): see random_float_state()
            s.fp.mxcsr &= ~static_cast<std::uint32_t>(random_.next() & 0x1780);
            s.fp.fcw &= static_cast<std::uint16_t>(~(random_.next() & 0x3f));
            s.fp.fsw &= 0x7f40;
        }
        s.gpr[kRsp] = base() + kStackFrom + (random_.below(kStackSize) & ~7u);
        if (random_.one_in(24)) {
            s.gpr[kRsp] = base() + kWritableSize + kReadOnlySize - random_.below(16); // pushes fault, what is there can be popped
        }
    }

    bool reserved(unsigned reg) const {
        return reg == kRsp || reg == counter_ || reg == index_ || (in_loop_ && loop_by_rcx_ && reg == kRcx) ||
               std::find(pointers_.begin(), pointers_.end(), reg) != pointers_.end();
    }

    bool writes_reserved(const Insn &insn) const {
        for (unsigned n = 0; n < 2; n++) { // third operands are only read
            const Operand &op = insn.operands[n];
            if (op.is_reg() && reserved(op.reg)) {
                return true;
            }
        }
        return in_loop_ && loop_by_rcx_ && insn.row().mnemonic.find("pcmp") != std::string_view::npos;
    }

    /// Gives the memory operand another displacement, of the same size. False: there is none, or it is not found in the code.
    bool displace(Encoded &e, std::int64_t wanted) {
        for (const unsigned width : {4u, 2u, 1u}) {
            for (unsigned at = e.insn.length; at-- > 1;) {
                if (at + width > e.insn.length || std::memcmp(&e.bytes[at], &e.insn.mem.disp, width) != 0) {
                    continue;
                }
                Encoded changed = e;
                std::memcpy(&changed.bytes[at], &wanted, width);
                if (decode(changed.bytes.data(), kMaxInsnLength, decode_mode(size_, rows_.features()), changed.insn) ==
                        DecodeStatus::kOk && changed.insn.row_id == e.insn.row_id && changed.insn.mem.disp == wanted &&
                    changed.insn.length == e.insn.length && changed.insn.mem.base == e.insn.mem.base &&
                    changed.insn.mem.index == e.insn.mem.index && changed.insn.imm == e.insn.imm) {
                    e = changed;
                    return true;
                }
            }
        }
        return false;
    }

    bool place_operand(Encoded &e) {
        if (!e.insn.mem_form() || one_of(e.insn.row().mnemonic, {"lea", "nop"})) {
            return true;
        }
        const MemRef &m = e.insn.mem;
        if (m.segment == kCs || (e.insn.address_size == 2 && size_ != CodeSize::k16)) {
            return false;
        }
        if (m.index != kNoReg && m.index != index_) {
            return false;
        }
        if (m.base == kNoReg) {
            return m.index == kNoReg; // absolute: encode_row aims it
        }
        const bool stack = m.base == kRsp && !in_function_;
        const bool pointer = std::find(pointers_.begin(), pointers_.end(), m.base) != pointers_.end();
        if ((!stack && !pointer) || (m.base == bad_ && !random_.one_in(3))) {
            return false;
        }
        const Operand &op = e.insn.operands[0].is_mem() ? e.insn.operands[0]
                            : e.insn.operands[1].is_mem() ? e.insn.operands[1] : e.insn.operands[2];
        const bool aligned = !e.insn.vex && op.size >= 16 && !random_.one_in(12);
        const Snapshot &start = program_.before;
        if (aligned && ((start.gpr[m.base] + (m.index == kNoReg ? 0 : start.gpr[m.index] << m.scale)) & 15) != 0) {
            return false;
        }
        const std::int64_t old = m.disp;
        std::int64_t wanted = old < -kMaxDisplacement || old > kMaxDisplacement
                                  ? static_cast<std::int64_t>(random_.below(2 * kMaxDisplacement)) - kMaxDisplacement : old;
        if (stack) {
            wanted = static_cast<std::int64_t>(random_.below(0x60));
        }
        wanted &= aligned ? ~std::int64_t{15} : ~std::int64_t{0};
        return wanted == old || displace(e, wanted);
    }

    bool acceptable(Encoded &e) {
        const Insn &insn = e.insn;
        const Row &row = insn.row();
        if (is_stack(row) && (in_loop_ || in_function_ || insn.operands[0].kind == Operand::Kind::kSeg || !random_.one_in(4))) {
            return false;
        }
        if (unmasked_ && (row.mnemonic.ends_with("dpps") || row.mnemonic.ends_with("dppd"))) {
            return false; // see docs/translator.md
        }
        if (divides(row) && !random_.one_in(3)) {
            return false; // most end in #DE
        }
        if ((insn.lock && !insn.operands[0].is_mem()) || writes_reserved(insn) || (flag_effects(insn).reads & undefined_) != 0) {
            return false;
        }
        const bool far_bit = insn.operands[0].is_mem() && insn.operands[1].is_reg() && row.mnemonic.starts_with("bt");
        if (far_bit || (row.mnemonic == "bswap" && insn.operand_size == 2) || encoding_differs(insn, size_) || shows_differences(insn)) {
            return false;
        }
        return place_operand(e);
    }

    void note(const Insn &insn) {
        program_.places.push_back({static_cast<std::uint16_t>(program_.bytes.size()), undefined_, insn});
        const FlagEffects effects = flag_effects(insn);
        undefined_ = (undefined_ & ~effects.defines) | effects.undefines;
    }

    /// An instruction given by its bytes.
    void put(std::initializer_list<unsigned> code) { put_code(std::vector<unsigned>(code)); }
    void put_code(const std::vector<unsigned> &code) {
        std::uint8_t bytes[16] = {};
        std::copy(code.begin(), code.end(), bytes);
        Insn insn;
        decode(bytes, kMaxInsnLength, decode_mode(size_, rows_.features()), insn);
        note(insn);
        program_.bytes.insert(program_.bytes.end(), bytes, bytes + code.size());
    }
    void put_with_word(std::initializer_list<unsigned> code, std::uint64_t value) {
        const auto byte = [value](unsigned n) { return static_cast<unsigned>(value >> (8 * n)) & 0xff; };
        std::vector<unsigned> all(code);
        const unsigned bytes = size_ == CodeSize::k16 ? 2 : 4;
        for (unsigned n = 0; n < bytes; n++) {
            all.push_back(byte(n));
        }
        all.resize(8, 0x90);
        const std::size_t length = code.size() + bytes;
        std::uint8_t raw[8];
        std::copy(all.begin(), all.end(), raw);
        Insn insn;
        decode(raw, 8, decode_mode(size_, rows_.features()), insn);
        note(insn);
        program_.bytes.insert(program_.bytes.end(), raw, raw + length);
    }
    std::size_t here() const { return program_.bytes.size(); }
    void patch_byte(std::size_t at, std::size_t value) { program_.bytes[at] = static_cast<std::uint8_t>(value); }

    void straight(unsigned wanted) {
        const std::vector<RowId> &rows = program_.floating && !random_.one_in(12) ? rows_.floating() : rows_.all();
        for (unsigned tries = 0; tries < 60 * wanted && wanted != 0 && here() < kMaxBytes; tries++) {
            const RowId row = rows[random_.below(static_cast<unsigned>(rows.size()))];
            std::optional<Encoded> e = encode_row(row, size_, rows_.features(), random_, kStart + here());
            if (!e || !acceptable(*e)) {
                continue;
            }
            note(e->insn);
            program_.bytes.insert(program_.bytes.end(), e->bytes.begin(), e->bytes.begin() + e->insn.length);
            wanted--;
        }
    }

    /// A conditional jump over some instructions.
    void skip() {
        unsigned condition = random_.below(16);
        for (unsigned n = 0; n < 16 && (flags_of_condition(condition) & undefined_) != 0; n++) {
            condition = (condition + 1) & 15;
        }
        if ((flags_of_condition(condition) & undefined_) != 0) {
            return straight(2);
        }
        put({0x70 + condition, 0});
        const std::size_t from = here();
        const std::uint32_t jumped = undefined_;
        straight(1 + random_.below(5));
        undefined_ |= jumped;
        patch_byte(from - 1, here() - from); // at most five instructions of 15 bytes
    }

    void body(unsigned most) {
        for (unsigned n = 1 + random_.below(most); n != 0; n--) {
            if (random_.one_in(4)) {
                skip();
            } else {
                straight(1 + random_.below(3));
            }
            if (extras_.one_in(12)) {
                gather();
            }
        }
    }

    /// Random indices lead nowhere, so they are made small first; every second mask has all elements.
    void gather() {
        const unsigned data = extras_.below(16), mask = (data + 1 + extras_.below(7)) & 15, index = (data + 8 + extras_.below(8)) & 15;
        const unsigned base = pointers_[extras_.below(static_cast<unsigned>(pointers_.size()))];
        if (size_ != CodeSize::k64 || !rows_.features().has(Feature::kAvx2) || (base == bad_ && !extras_.one_in(3))) {
            return;
        }
        const unsigned opcode = 0x90 + extras_.below(4), wide = extras_.below(2);
        const unsigned shift = (opcode & 1) != 0 ? 57 : 25;
        put_code({0xc4, 0xe1 & ~(index >> 3 << 5), 0x05 | (~index & 15) << 3, (opcode & 1) != 0 ? 0x73u : 0x72u, 0xd0 | (index & 7), shift});
        if (extras_.one_in(2)) {
            put_code({0xc4, 0xe1 & ~(mask >> 3 << 7 | mask >> 3 << 5), 0x05 | (~mask & 15) << 3, 0x76, 0xc0 | (mask & 7) * 9});
        }
        std::vector<unsigned> code = {0xc4, 0xe2 & ~(data >> 3 << 7 | index >> 3 << 6 | base >> 3 << 5),
                                      extras_.below(2) << 7 | 0x01 | wide << 2 | (~mask & 15) << 3, opcode, 0x44 | (data & 7) << 3,
                                      extras_.below(4) << 6 | (index & 7) << 3 | (base & 7), extras_.below(256)};
        if (extras_.one_in(6)) {
            code.insert(code.begin(), 0x67);
        }
        put_code(code);
    }

    /// Moves a pointer on by some bytes, so that a loop may reach what faults.
    void walk() {
        const unsigned pointer = pointers_[random_.below(static_cast<unsigned>(pointers_.size()))];
        const unsigned steps[] = {4, 8, 16, 32, 64, 0xf0, 0xf8, 0xe0};
        const unsigned step = steps[random_.below(8)];
        if (size_ == CodeSize::k64) {
            put({0x48 | pointer >> 3, 0x83, 0xc0 | (pointer & 7), step});
        } else {
            put({0x83, 0xc0 | pointer, step});
        }
    }

    void loop() {
        loop_by_rcx_ = random_.one_in(5);
        const unsigned counter = loop_by_rcx_ ? unsigned{kRcx} : counter_;
        const unsigned turns = random_.one_in(100) ? 4200 : 1 + random_.below(random_.one_in(3) ? 60 : 12);
        const bool walking = turns < 100 && random_.one_in(2);
        if (counter >= 8) {
            put_with_word({0x41, 0xb8 + (counter & 7)}, turns);
        } else {
            put_with_word({0xb8 + counter}, turns);
        }
        const bool keeps_carry = random_.one_in(2);
        undefined_ |= loop_by_rcx_ ? tcg::kArithFlags : keeps_carry ? std::uint32_t{tcg::kCF} : 0u;
        const std::size_t head = here();
        in_loop_ = true;
        body(loop_by_rcx_ ? 2 : 4);
        if (walking) {
            walk();
        }
        if (loop_by_rcx_ && here() - head < 120) {
            put({0xe2, static_cast<unsigned>(head - here() - 2) & 0xff});
        } else {
            const unsigned operation = keeps_carry && !loop_by_rcx_ ? 0xc8u : 0xe8u; // DEC, or SUB 1
            std::vector<unsigned> code;
            if (counter >= 8) {
                code.push_back(0x41);
            }
            code.push_back(operation == 0xc8 ? 0xff : 0x83);
            code.push_back(operation | (counter & 7));
            if (operation == 0xe8) {
                code.push_back(1);
            }
            put_code(code);
            const unsigned length = size_ == CodeSize::k16 ? 4 : 6;
            put_with_word({0x0f, 0x85}, head - here() - length);
        }
        in_loop_ = loop_by_rcx_ = false;
    }
    /// A function, then calls of it.
    void calls() {
        const unsigned word = size_ == CodeSize::k16 ? 2 : 4;
        put_with_word({0xe9}, 0);
        const std::size_t entry = here();
        const std::uint32_t before = undefined_;
        undefined_ = tcg::kArithFlags;
        in_function_ = true;
        body(2);
        put({0xc3});
        in_function_ = false;
        const std::uint32_t returned = undefined_;
        const std::size_t over = here() - entry;
        std::memcpy(&program_.bytes[entry - word], &over, word);
        undefined_ = before;
        const unsigned times = 1 + random_.below(3);
        for (unsigned n = 0; n < times; n++) {
            straight(random_.below(3));
            if (random_.one_in(3)) { // by register
                const std::uint64_t address = (size_ == CodeSize::k16 ? kCodeOffset : kStart) + entry;
                put_with_word({0xb8}, address);
                put({0xff, 0xd0});
            } else {
                put_with_word({0xe8}, entry - here() - 1 - word);
            }
            undefined_ = returned;
        }
    }

    void jump() {
        const unsigned word = size_ == CodeSize::k16 ? 2 : 4;
        put_with_word({0xb8}, (size_ == CodeSize::k16 ? kCodeOffset : kStart) + here() + 1 + word + 2);
        put({0xff, 0xe0});
    }

    /// A repeated string instruction on its own registers, in 64-bit code where they are free.
    void string() {
        if (size_ != CodeSize::k64 || reserved(kRsi) || reserved(kRdi)) {
            return straight(3);
        }
        const auto address = [this] { return random_.one_in(8) ? bad_address() & 0xffffffff : good_address(); };
        put_with_word({0xb8 + kRdi}, address());
        put_with_word({0xb8 + kRsi}, address());
        put_with_word({0xb8 + kRcx}, random_.below(random_.one_in(3) ? 600 : 20));
        constexpr unsigned kOpcodes[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad};
        const unsigned opcode = kOpcodes[random_.below(6)], repeat = random_.one_in(2) ? 0xf3 : 0xf2;
        if (random_.one_in(2)) {
            put({repeat, 0x48, opcode});
        } else {
            put({repeat, opcode});
        }
    }

    void piece() {
        switch (random_.below(9)) {
        case 5: return string();
        case 0: return skip();
        case 1:
        case 2: return loop();
        case 3: return calls();
        case 4: return jump();
        default: return straight(2 + random_.below(7));
        }
    }

    const ProgramRows &rows_;
    CodeSize size_;
    bool unmasked_;
    Random &random_;
    Random extras_; ///< of what was added later: the other programs stay as they were
    Program program_;
    std::vector<std::uint8_t> pointers_;
    std::uint8_t index_ = kNoReg, counter_ = kNoReg, bad_ = kNoReg;
    std::uint32_t undefined_ = 0;
    bool in_loop_ = false, loop_by_rcx_ = false, in_function_ = false;
};

} // namespace

const Program::Place *Program::at(std::uint64_t rip) const {
    const std::uint64_t offset = rip - kStart;
    const auto found = std::lower_bound(places.begin(), places.end(), offset,
                                        [](const Place &place, std::uint64_t wanted) { return place.offset < wanted; });
    return found != places.end() && found->offset == offset ? &*found : nullptr;
}

ProgramRows::ProgramRows(FeatureSet features) : features_(features) {
    for (RowId row = 0; row < kRowCount; row++) {
        if (!features.has(kRows[row].feature) || !suits_programs(kRows[row])) {
            continue;
        }
        all_.push_back(row);
        if ((kRows[row].flags & (kRowX87 | kRowMmx)) != 0) {
            floating_.push_back(row);
        }
    }
}

Program make_program(const ProgramRows &rows, CodeSize size, bool unmasked, Random &random) {
    return Maker(rows, size, unmasked, random).make();
}

} // namespace rhea::target::x86::diff
