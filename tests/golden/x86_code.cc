#include "tests/golden/x86_code.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <new>

#include "rhea/target/x86/state.h"
#include "rhea/tcg/passes.h"
#include "target/x86/fpu/x87_guest.h"
#include "target/x86/helpers.h"
#include "target/x86/slots.h"
#include "target/x86/translate/translate.h"
#include "tcg/backend/x64/compiler.h"
#include "tests/golden/x86_names.h"

namespace rhea::golden {

namespace {

using namespace target::x86;

constexpr std::size_t kCodeBytes = 1u << 20;
constexpr unsigned kPage = 4096, kMaxInsns = 48;
constexpr std::uint32_t kLong = kModeProtected | kModeLongActive | kModeCsBaseZero | kModeDataFlat;
constexpr std::uint32_t kLegacy = kModeProtected | kModeCsBaseZero;
/// What follows each snippet: test al, al; jmp $+0x42. It kills the flags, as most code does soon.
constexpr std::uint8_t kEnd[] = {0x84, 0xc0, 0xeb, 0x40};

struct NamedMode {
    std::string_view name;
    std::uint32_t mode;
};
constexpr NamedMode kModes[] = {
    {"user64", kLong | kModeCode64 | kModeCpl3},
    {"kernel64", kLong | kModeCode64 | 1},
    {"user64-avx", kLong | kModeCode64 | kModeCpl3 | kModeXsave | kModeAvx},
    {"user64-x87-unmasked", kLong | kModeCode64 | kModeCpl3 | kModeX87Unmasked},
    {"user64-sse-unmasked", kLong | kModeCode64 | kModeCpl3 | kModeFpUnmasked},
    {"user32", kLong | kModeCode32 | kModeStack32 | kModeCpl3},
    {"kernel32", kLegacy | kModeCode32 | kModeStack32 | kModeDataFlat | 1},
    {"kernel32-bases", kLegacy | kModeCode32 | kModeStack32 | 1},
    {"kernel32-limits", kLegacy | kModeCode32 | kModeStack32 | kModeSegChecks | 1},
    {"kernel16", kLegacy | 1},
    {"real16", 1},
};

bool never_returns(const std::string& thunk) {
    return thunk.starts_with("exit_") || thunk == "raise";
}

}  // namespace

util::Result<std::uint32_t> mode_by_name(std::string_view name) {
    std::string known;
    for (const NamedMode& mode : kModes) {
        if (mode.name == name) {
            return mode.mode;
        }
        known += fmt::format("{}{}", known.empty() ? "" : ", ", mode.name);
    }
    return util::fail("no mode is called \"{}\"; there are {}", name, known);
}

struct X86Code::Impl {
    Impl()
        : guest(describe()),
          layout(guest, offsetof(CpuState, cold)),
          context{&layout, &guest, {}},
          compiler(layout, thunks, guest),
          state_names(layout, guest),
          state(std::make_unique<CpuState>()),
          pages(new (std::align_val_t(kPage)) std::uint8_t[2 * kPage]) {
        void* space = mmap(nullptr, kCodeBytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (space == MAP_FAILED) {
            throw std::bad_alloc();
        }
        memory = static_cast<std::uint8_t*>(space);
        thunk_bytes = tcg::x64::emit_thunks({memory, memory, kCodeBytes}, context, thunks);
        names = thunk_names(thunks, guest);
    }
    ~Impl() {
        munmap(memory, kCodeBytes);
        ::operator delete[](pages, std::align_val_t(kPage));
    }

    static tcg::GuestDescription describe() {
        tcg::GuestDescription d{};
        d.name = "x86";
        d.slots = slot_table();
        d.pin_integer = pinned_integers();
        d.pin_vector = pinned_vectors();
        d.helpers = helper_table();
        d.x87 = x87_guest();
        return d;
    }

    /// Bytes of data behind a call.
    unsigned inline_data(std::uint64_t target, const std::uint8_t* at) const {
        const auto is = [target](const std::uint8_t* thunk) {
            return thunk != nullptr && target == reinterpret_cast<std::uint64_t>(thunk);
        };
        if (is(thunks.exit_next_at) || is(thunks.exit_hot)) {
            return 4;
        }
        if (is(thunks.exit_chain)) {
            return 12;
        }
        if (is(thunks.evaluate_flags)) {
            const std::uint8_t* end = at + 1;
            tcg::x64::evaluate(layout, &state->head, end);
            return static_cast<unsigned>(end - at);
        }
        return 0;
    }

    tcg::GuestDescription guest;
    tcg::x64::Layout layout;
    tcg::x64::RuntimeContext context;
    tcg::x64::Thunks thunks;
    tcg::x64::BlockCompiler compiler;
    StateNames state_names;
    std::map<std::uint64_t, std::string> names;
    std::unique_ptr<CpuState> state;
    std::uint8_t* pages;
    std::uint8_t* memory = nullptr;
    std::size_t thunk_bytes = 0;
};

X86Code::X86Code() : impl_(std::make_unique<Impl>()) {}
X86Code::~X86Code() = default;

util::Result<SnippetCode> X86Code::translate(const GuestSnippet& snippet) {
    Impl& m = *impl_;
    const std::size_t end = snippet.page_offset + snippet.bytes.size();
    if (snippet.bytes.empty() || snippet.page_offset >= kPage || end + sizeof kEnd > 2 * kPage) {
        return util::fail("a snippet has 1 to 4,000 bytes and begins in its page");
    }
    std::memset(m.pages, 0x90, 2 * kPage);
    std::memcpy(m.pages + snippet.page_offset, snippet.bytes.data(), snippet.bytes.size());
    std::memcpy(m.pages + end, kEnd, sizeof kEnd);
    tcg::ir::Block block;
    block.mode = snippet.mode;
    block.page_offset = snippet.page_offset;
    const tcg::FetchWindow fetch{
        .page = m.pages, .next_page = m.pages + kPage, .page_offset = snippet.page_offset};
    TranslateContext context;
    context.features = FeatureSet::all();
    context.guest = &m.guest;
    if (translate_block(block, fetch, kMaxInsns, context) != tcg::TranslateStatus::kOk) {
        return util::fail("the frontend cannot translate the snippet");
    }
    if (const unsigned done = snippet.page_offset + block.byte_length; done < end) {
        return util::fail("the block ends {} bytes before the snippet", end - done);
    }
    tcg::passes::run(block, m.guest);
    std::uint8_t* free = m.memory + m.thunk_bytes;
    tcg::CompiledCode code;
    std::vector<std::uint32_t> offsets;
    code.insn_offsets = &offsets;
    if (!m.compiler.compile(block, {free, free, kCodeBytes - m.thunk_bytes}, code)) {
        return util::fail("the code generator refuses the block");
    }
    // compile() counts what stands before the entry (padding and the flags word) into the size.
    const auto total = static_cast<std::uint32_t>(free + code.size - code.entry);
    const std::uint32_t stubs = code.exits.empty() ? total : code.exits.front().stub_offset;
    const auto entry = reinterpret_cast<std::uint64_t>(code.entry);
    std::map<std::uint64_t, std::string> exits;
    for (const tcg::ExitSlot& exit : code.exits) {
        exits.emplace(entry + exit.stub_offset, fmt::format("exit to {:#x}", exit.target_offset));
    }
    const ListingContext listing{
        .namer =
            [&](std::uint64_t address) {
                const auto exit = exits.find(address);
                const auto name = m.names.find(address);
                return exit != exits.end()     ? exit->second
                       : name != m.names.end() ? name->second
                                               : std::string();
            },
        .frame_namer = m.state_names,
        .inline_data = [&m](std::uint64_t target, const std::uint8_t* at) {
            return m.inline_data(target, at);
        }};
    std::vector<HostLine> lines = host_lines({code.entry, stubs}, entry, listing);

    SnippetCode result;
    std::size_t count = 0;
    while (count < block.insns.size() && block.insns[count].page_offset < end) {
        ++count;
    }
    const bool ends_itself = count == block.insns.size();
    const std::uint64_t hot_end = entry + (ends_itself ? code.hot_size : offsets[count]);
    std::uint64_t joined = 0;  // code up to here is reached by a jump inside the hot path
    bool dead = false;
    for (HostLine& line : lines) {
        if (line.address >= hot_end) {
            break;
        }
        dead = dead && line.address >= joined;
        const std::uint64_t offset = line.address - entry;
        while (result.insns.size() < count && offsets[result.insns.size()] <= offset) {
            const tcg::ir::GuestInsn& insn = block.insns[result.insns.size()];
            std::string text = disassemble(snippet.mode, insn.page_offset, m.pages + insn.page_offset,
                                           insn.length);
            // "0x00000100:  4801d8    add rax, rbx": only what comes behind address and bytes.
            text.erase(0, text.find_first_of(' '));
            text.erase(0, text.find_first_not_of(' '));
            text.erase(0, text.find_first_of(' '));
            text.erase(0, text.find_first_not_of(' '));
            while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) {
                text.pop_back();
            }
            result.insns.push_back({std::move(text), {}});
        }
        if (line.jump && line.target > line.address && line.target < hot_end) {
            joined = std::max(joined, line.target);
        }
        const bool counted = !line.nop && !line.data && !line.text.empty() && !dead;
        result.host += counted ? 1 : 0;
        const bool leaves = line.call && never_returns(line.target_name);
        if (line.call && !leaves && !dead) {
            result.calls.push_back(line.target_name.empty() ? "?" : line.target_name);
        }
        if (dead) {
            result.cold.push_back(line);
        } else if (!line.nop) {
            result.insns.back().host.push_back(line);
        }
        dead = dead || line.unconditional || leaves;
    }
    for (const HostLine& line : lines) {
        if (line.address >= entry + code.hot_size && line.address < entry + stubs && !line.nop) {
            result.cold.push_back(line);
        }
    }
    return result;
}

}  // namespace rhea::golden
