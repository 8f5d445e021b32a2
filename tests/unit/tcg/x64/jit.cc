#include "jit.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cassert>

#include "tcg/backend/x64/disassemble.h"

namespace rhea::tcg::test {
namespace {

constexpr std::size_t kCodeBytes = 4u << 20;

void* exit_next = nullptr;

void* find_block(void* state, std::uint64_t pc) {
    static_cast<TestState*>(state)->head.pc = pc;
    Jit::found_pc = pc;
    return exit_next;
}

}  // namespace

std::uint64_t Jit::found_pc = 0;

GuestDescription guest_with_pins(unsigned integers, unsigned vectors) {
    static constexpr std::array<Slot, 8> kIntegers = {kR0, kR1, kR2, kR3, kR4, kR5, kR6, kR7};
    static constexpr std::array<Slot, 2> kVectors = {kV0, kV1};
    GuestDescription guest = test_guest();
    guest.pin_integer = std::span(kIntegers).first(integers);
    guest.pin_vector = std::span(kVectors).first(vectors);
    return guest;
}

Jit::Jit(unsigned integer_pins, unsigned vector_pins)
    : guest_(guest_with_pins(integer_pins, vector_pins)) {
    MemoryCallbacks callbacks = Machine::callbacks();
    callbacks.find_block = find_block;
    generator_ = make_x64_generator(guest_, offsetof(TestState, cold), callbacks);
    assert(generator_);
    memory_ = static_cast<std::uint8_t*>(mmap(nullptr, kCodeBytes,
                                              PROT_READ | PROT_WRITE | PROT_EXEC,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    thunk_bytes_ = used_ = generator_->emit_thunks({memory_, memory_, kCodeBytes});
    assert(used_ != 0);
}

Jit::~Jit() {
    munmap(memory_, kCodeBytes);
}

void Jit::reset() {
    blocks_.clear();
    used_ = thunk_bytes_;
}

TranslationBlock* Jit::compile(const ir::Block& block) {
    CompiledCode code;
    if (!generator_->compile(block, {memory_ + used_, memory_ + used_, kCodeBytes - used_}, code))
        return nullptr;
    used_ += code.size;
    auto tb = TranslationBlock::make(code.exits, code.side_table.bytes);
    tb->entry = code.entry;
    tb->code_size = static_cast<std::uint32_t>(memory_ + used_ - code.entry);
    generator_->move_exits(*tb);
    blocks_.push_back(std::move(tb));
    return blocks_.back().get();
}

CodeExit Jit::run(Machine& machine, TranslationBlock& block) {
    exit_next = generator_->exit_next_entry();
    VcpuHead& head = machine.state().head;
    const CodeExit exit = generator_->enter(&head, block.entry);
    if (exit == CodeExit::kException) {
        const bool known = generator_->restore_state(&head, block, machine.state().cold.slow_site);
        assert(known);
        (void)known;
    }
    return exit;
}

std::string Jit::hot_path(const TranslationBlock& block) {
    const std::string text = x64::disassemble(block.entry, block.code_size);
    std::string out;
    std::size_t begin = 0;
    while (begin < text.size()) {
        const std::size_t end = text.find('\n', begin);
        // Offsets are left out: what counts is which instructions there are.
        const std::string line = text.substr(begin + 6, end - begin - 6);
        begin = end + 1;
        if (line.starts_with("nop"))
            continue;
        out += line + "\n";
        if (line.starts_with("jmp"))
            break;
    }
    return out;
}

unsigned Jit::lines(const std::string& text) {
    return static_cast<unsigned>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace rhea::tcg::test
