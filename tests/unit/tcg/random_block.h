// Random well-formed blocks for the test guest: every kind of scalar op, flags chains, memory,
// helpers, side exits. Guest instructions keep the translator's rule: slots and flags change after
// the last thing that can fault.
#pragma once
#include <array>

#include "test_guest.h"

namespace rhea::tcg::test {

/// Where constants come from: the same program with kOpaque ones gives the builder nothing to fold.
enum class Constants { kFoldable, kOpaque };

class RandomBlock {
  public:
    RandomBlock(ir::Block& block, std::uint64_t seed, Constants constants)
        : random_(seed), block_(block), b_(block, test_guest()), constants_(constants) {}

    void build(unsigned guest_insns) {
        for (unsigned i = 0; i < guest_insns; ++i) {
            b_.insn_start(static_cast<std::uint16_t>(4 * i), 4);
            guest_insn();
        }
        if (random_.below(2) == 0)
            b_.emit(ir::Op::exit_direct, Type::kNone, {}, 0, 4 * guest_insns);
        else
            b_.emit(ir::Op::exit_indirect, Type::kNone, {pick(Type::kI64)});
    }

  private:
    using Op = ir::Op;
    using ValueId = ir::ValueId;

    Type int_type() { return static_cast<Type>(1 + random_.below(4)); }

    ValueId constant(Type type) {
        const std::uint64_t value =
            random_.below(3) == 0 ? random_.below(70) : random_.interesting();
        if (constants_ == Constants::kFoldable)
            return b_.konst(type, value);
        return b_.call(kSum, type, {b_.konst(Type::kI64, value)});
    }

    ValueId pick(Type type) {
        auto& known = values_[static_cast<unsigned>(type)];
        const unsigned choice = random_.below(8);
        if (type == Type::kFlags)
            return known.empty() || choice == 0 ? b_.flags()
                                                : known[random_.below(unsigned(known.size()))];
        if (choice == 0 || known.empty()) {
            if (random_.below(2) == 0)
                return keep(constant(type));
            const auto slot = static_cast<Slot>(kR0 + random_.below(8));
            const ValueId whole = b_.get(slot);
            return keep(b_.trunc(whole, type));
        }
        return known[random_.below(static_cast<unsigned>(known.size()))];
    }

    ValueId keep(ValueId v) {
        values_[static_cast<unsigned>(block_.type_of(v))].push_back(v);
        return v;
    }
    template <class... A>
    ValueId op(Op op, Type type, std::uint16_t aux, std::uint64_t imm, A... args) {
        return keep(b_.emit(op, type, {args...}, aux, imm));
    }
    std::uint16_t cc() { return static_cast<std::uint16_t>(random_.below(16)); }

    void guest_insn() {
        if (random_.below(6) == 0)
            return chase();
        for (unsigned i = random_.below(5); i > 0; --i)
            compute();
        if (random_.below(4) == 0)
            memory();
        if (random_.below(6) == 0)
            helper();
        for (unsigned i = random_.below(4); i > 0; --i)
            compute();
        for (unsigned i = random_.below(3); i > 0; --i) {
            const auto slot = static_cast<Slot>(kR0 + random_.below(9));
            b_.set(slot, pick(slot == kW ? Type::kI32 : Type::kI64));
        }
        if (random_.below(8) == 0) {
            const ValueId x = pick(Type::kI64);
            b_.set(static_cast<Slot>(kV0 + random_.below(2)),
                   b_.emit(Op::v_from_i64, Type::kV128, {x}));
        }
        if (random_.below(2) == 0)
            b_.set_flags(pick(Type::kFlags));
        if (random_.below(12) == 0) {
            if (random_.below(2) == 0)
                b_.emit(Op::br_cc, Type::kNone, {pick(Type::kFlags)}, cc(),
                        0x800 + random_.below(0x100));
            else
                b_.emit(Op::br_nz, Type::kNone,
                        {op(Op::cond, Type::kI8, cc(), 0, pick(Type::kFlags))}, 0, 0x900);
        }
    }

    /// test r, r; r = [r]: the flags' operand has its last use where its register gets a new value,
    /// or is kept by a narrow part of itself.
    void chase() {
        static constexpr Op kFlags[] = {Op::f_logic, Op::f_cmp, Op::f_shr};
        const auto slot = static_cast<Slot>(kR0 + random_.below(8));
        const ValueId v = b_.get(slot);
        const Type t = int_type();
        const ValueId part = b_.trunc(v, t);
        const Op op = kFlags[random_.below(3)];
        const ValueId n = b_.konst(Type::kI8, 1 + random_.below(7));
        b_.set_flags(op == Op::f_logic ? b_.emit(op, t, {part})
                     : op == Op::f_cmp ? b_.emit(op, t, {part, b_.trunc(b_.get(kR1), t)})
                                       : b_.emit(op, t, {part, n, b_.flags()}));
        const ValueId at = b_.add_imm(b_.zext(b_.trunc(v, Type::kI16), Type::kI64), kRam);
        const ValueId loaded = b_.emit(Op::ld, t, {at});
        if (t == Type::kI8 || t == Type::kI16) {
            b_.set(slot, b_.emit(t == Type::kI8 ? Op::ins8 : Op::ins16, Type::kI64, {v, loaded}));
            const ValueId r = b_.add(b_.trunc(b_.get(slot), t), part);
            b_.set_flags(b_.emit(Op::f_add, t, {r, part}));
            b_.set(slot, b_.emit(t == Type::kI8 ? Op::ins8 : Op::ins16, Type::kI64, {b_.get(slot), r}));
        } else {
            b_.set(slot, b_.zext(loaded, Type::kI64));
        }
    }

    void compute() {
        const Type t = int_type();
        switch (random_.below(6)) {
            case 0:
                return binary(t);
            case 1:
                return shift(t);
            case 2:
                return unary(t);
            case 3:
                return flags_of(t);
            case 4:
                return flags_chain(t);
            default:
                return of_flags(t);
        }
    }

    void binary(Type t) {
        static constexpr Op kOps[] = {Op::add, Op::sub,   Op::and_,  Op::or_,  Op::xor_, Op::andn,
                                      Op::mul, Op::mulhu, Op::mulhs, Op::pdep, Op::pext};
        const ValueId a = pick(t), b = pick(t);
        op(kOps[random_.below(std::size(kOps))], t, 0, 0, a, b);
        if (random_.below(3) == 0)
            op(Op::lea, t, static_cast<std::uint16_t>(random_.below(4)), random_.below(100), a, b);
    }

    void shift(Type t) {
        static constexpr Op kOps[] = {Op::shl, Op::shr, Op::sar, Op::rol, Op::ror};
        const ValueId a = pick(t), n = pick(Type::kI8);
        op(kOps[random_.below(std::size(kOps))], t, 0, 0, a, n);
        if (t != Type::kI8 && random_.below(3) == 0) {
            const ValueId b = pick(t);
            op(random_.below(2) ? Op::shld : Op::shrd, t, 0, 0, a, b, n);
        }
    }

    void unary(Type t) {
        const ValueId a = pick(t);
        switch (random_.below(8)) {
            case 0:
                op(Op::not_, t, 0, 0, a);
                return;
            case 1:
                op(Op::neg, t, 0, 0, a);
                return;
            case 2:
                op(random_.below(2) ? Op::ctz : Op::clz, t, 0, 0, a);
                return;
            case 3:
                op(Op::popcnt, t, 0, 0, a);
                return;
            case 4:
                if (t >= Type::kI32)
                    op(Op::bswap, t, 0, 0, a);
                return;
            case 5:
                if (t != Type::kI8)
                    op(Op::hi8, Type::kI8, 0, 0, a);
                change_width(a);
                return;
            case 6: {
                const ValueId q = pick(Type::kI64), b = pick(Type::kI8), w = pick(Type::kI16);
                const unsigned which = random_.below(3);
                op(which == 0   ? Op::ins8
                   : which == 1 ? Op::ins8h
                                : Op::ins16,
                   Type::kI64, 0, 0, q, which == 2 ? w : b);
                return;
            }
            default: {
                const ValueId crc = pick(Type::kI32);
                op(Op::crc32, Type::kI32, 0, 0, crc, a);
            }
        }
    }

    /// Twice, so that one change of width meets another.
    void change_width(ValueId a) {
        for (int i = 0; i < 2; ++i) {
            const Type from = block_.type_of(a), to = int_type();
            if (to < from)
                a = op(Op::trunc, to, 0, 0, a);
            if (to > from)
                a = op(random_.below(2) ? Op::zext : Op::sext, to, 0, 0, a);
        }
    }

    void flags_of(Type t) {
        static constexpr Op kOps[] = {Op::f_add, Op::f_sub, Op::f_cmp};
        const ValueId a = pick(t), b = pick(t), bit = pick(Type::kI8), raw = pick(Type::kI32);
        const unsigned choice = random_.below(6);
        if (choice < 3)
            op(kOps[choice], t, 0, 0, a, b);
        else if (choice == 3)
            op(Op::f_logic, t, 0, 0, a);
        else if (choice == 4)
            op(Op::f_mulo, t, 0, 0, a, bit);
        else
            op(Op::f_raw, Type::kFlags, 0, 0, raw);
    }

    void flags_chain(Type t) {
        static constexpr Op kByCount[] = {Op::f_shl, Op::f_shr, Op::f_sar, Op::f_rol,
                                          Op::f_ror, Op::f_rcl, Op::f_rcr};
        const ValueId a = pick(t), b = pick(t),
                      n = random_.below(2) ? keep(constant(Type::kI8)) : pick(Type::kI8);
        const ValueId f = pick(Type::kFlags);
        switch (random_.below(6)) {
            case 0:
                op(random_.below(2) ? Op::f_adc : Op::f_sbb, t, 0, 0, a, b, f);
                return;
            case 1:
                op(random_.below(2) ? Op::f_inc : Op::f_dec, t, 0, 0, a, f);
                return;
            case 2:
                op(Op::f_bit, Type::kFlags, 0, 0, n, f);
                return;
            case 3:
                op(random_.below(2) ? Op::f_zf : Op::f_of, Type::kFlags, 0, 0, n, f);
                return;
            default:
                op(kByCount[random_.below(std::size(kByCount))], t, 0, 0, a, n, f);
        }
    }

    void of_flags(Type t) {
        const ValueId a = pick(t), b = pick(t), n = pick(Type::kI8), f = pick(Type::kFlags);
        switch (random_.below(6)) {
            case 0:
                op(random_.below(2) ? Op::adc : Op::sbb, t, 0, 0, a, b, f);
                return;
            case 1:
                op(random_.below(2) ? Op::rcl : Op::rcr, t, 0, 0, a, n, f);
                return;
            case 2:
                op(Op::f_bits, Type::kI32, 0, 0, f);
                return;
            case 3:
                op(Op::cond, Type::kI8, cc(), 0, f);
                return;
            case 4:
                op(Op::select, t, 0, 0, op(Op::cond, Type::kI8, cc(), 0, f), a, b);
                return;
            default:
                op(Op::select_cc, t, cc(), 0, f, a, b);
        }
    }

    /// An address in RAM, now and then behind it, on the read-only page or the device.
    /// Often near the one before, so that accesses share TLB checks.
    ValueId address() {
        if (near_ == ir::kNoValue || random_.below(3) == 0)
            near_ = b_.add_imm(b_.zext(b_.trunc(pick(Type::kI64), Type::kI16), Type::kI64), kRam);
        switch (random_.below(4)) {
            case 0:
                return near_;
            case 1:
                return b_.emit(Op::lea, Type::kI64, {near_, constant_index()}, 3, random_.below(64));
            default:
                return b_.add_imm(near_, static_cast<std::int64_t>(random_.below(256)) - 128);
        }
    }
    /// 0 to 3, not known to the builder, the same value for a while.
    ValueId constant_index() {
        if (index_ == ir::kNoValue || random_.below(3) == 0)
            index_ = b_.and_imm(pick(Type::kI64), 3);
        return index_;
    }

    void memory() {
        const Type t = int_type();
        const ValueId at = address(), a = pick(t), b = pick(t);
        switch (random_.below(5)) {
            case 0:
            case 1:
                op(Op::ld, t, 0, 0, at);
                return;
            case 2:
                b_.store(at, a);
                return;
            case 3:
                op(random_.below(2) ? Op::atomic_add : Op::atomic_xchg, t, 0, 0, at, a);
                return;
            default:
                switch (random_.below(4)) {
                    case 0:
                        op(Op::atomic_cmpxchg, t, 0, 0, at, a, b);
                        return;
                    case 1:
                        b_.store(at, b_.get(kV0));
                        return;
                    case 2:
                        b_.set(kV1, b_.emit(Op::v_from_i64, Type::kV128, {b_.load(Type::kI64, at)}));
                        return;
                    default:
                        b_.store(at, b_.emit(Op::v_to_i32, Type::kI32, {b_.get(kV1)}));
                        return;
                }
        }
    }

    void helper() {
        const ValueId x = pick(Type::kI64);
        switch (random_.below(6)) {
            case 0:
                keep(b_.call(kSum, Type::kI32, {x, x}));
                return;
            case 1:
                keep(b_.call(kWriteR1, Type::kI64, {x}));
                return;
            case 2:
                b_.call(kMayFault, Type::kNone, {b_.and_imm(x, 1)});
                return;
            case 3:
                b_.call(kFlagsOut, Type::kNone, {x});
                return;
            case 4:
                keep(b_.call(kFlagsIn, Type::kI32));
                return;
            default:
                b_.call(kFlipVector, Type::kNone);
        }
    }

    ValueId near_ = ir::kNoValue, index_ = ir::kNoValue;
    Random random_;
    ir::Block& block_;
    ir::Builder b_;
    Constants constants_;
    std::array<std::vector<ValueId>, 7> values_;
};

}  // namespace rhea::tcg::test
