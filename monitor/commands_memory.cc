// x and xp: guest memory, virtual and physical.
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "commands.h"

namespace rhea::monitor {
namespace {

using util::Result;

constexpr std::int64_t kMaxItems = 65536;

struct DumpFormat {
    std::int64_t count = 1;
    char format = 'x';
    unsigned size = 4;
};

/// "4xw": a count, a format letter and a size letter, each optional, letters in any order.
Result<DumpFormat> parse_format(std::string_view text) {
    DumpFormat format;
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
        ++digits;
    }
    if (digits > 0) {
        const auto count = parse_integer(text.substr(0, digits));
        if (!count || *count > kMaxItems) {
            return util::fail("at most {} items at a time", kMaxItems);
        }
        format.count = *count;
    }
    for (const char letter : text.substr(digits)) {
        constexpr std::string_view kFormats = "xduoc", kSizes = "bhwg";
        if (kFormats.find(letter) != std::string_view::npos) {
            format.format = letter;
            if (letter == 'c') {
                format.size = 1;
            }
        } else if (const auto at = kSizes.find(letter); at != std::string_view::npos) {
            format.size = 1u << at;
        } else if (letter == 'i' || letter == 's') {
            return util::fail("format '{}' is not in this version of Rhea; x, d, u, o and c are",
                              letter);
        } else {
            return util::fail("'{}' is no letter of a format: x, d, u, o or c, with b, h, w or g for the size", letter);
        }
    }
    return format;
}

std::string item_text(const DumpFormat& format, std::uint64_t value) {
    const unsigned bits = format.size * 8;
    const auto extended = static_cast<std::int64_t>(value << (64 - bits)) >> (64 - bits);
    const unsigned width = (bits * 10 + 32) / 33;
    switch (format.format) {
        case 'd':
            return fmt::format(" {:>{}}", extended, width);
        case 'u':
            return fmt::format(" {:>{}}", value, width);
        case 'o':
            return fmt::format(" {:#0{}o}", value, (bits + 2) / 3);
        case 'c':
            return value >= 0x20 && value < 0x7f ? fmt::format(" '{}'", static_cast<char>(value))
                                                 : fmt::format(" '\\x{:02x}'", value & 0xff);
        default:
            return fmt::format(" 0x{:0{}x}", value, bits / 4);
    }
}

using ReadItem = std::function<bool(std::uint64_t address, void* to, unsigned size)>;

std::string dump(const DumpFormat& format, std::uint64_t address, const ReadItem& read) {
    const unsigned line = format.size == 1 ? 8 : 16;
    std::string text;
    for (std::int64_t i = 0; i < format.count; ++i) {
        if (i * format.size % line == 0) {
            text += fmt::format("{}{:016x}:", i ? "\n" : "", address);
        }
        std::array<std::uint8_t, 8> bytes{};
        if (!read(address, bytes.data(), format.size)) {
            return text + "\nCannot access memory\n";
        }
        std::uint64_t value = 0;
        std::memcpy(&value, bytes.data(), sizeof value);
        text += item_text(format, value);
        address += format.size;
    }
    return text + "\n";
}

Result<Value> physical(Host& host, const Arguments& arguments) {
    const auto format = parse_format(arguments.text("fmt"));
    if (!format) {
        return util::fail(format.error());
    }
    std::string text;
    host.with_parked_vcpus([&] {
        text = dump(*format, static_cast<std::uint64_t>(arguments.integer("addr")),
                    [&](std::uint64_t address, void* to, unsigned size) {
                        return host.machine().memory().read(address, to, size) ==
                               core::MemTxResult::kOk;
                    });
    });
    return Value(std::move(text));
}

Result<Value> virtual_memory(Host& host, const Arguments& arguments) {
    const auto format = parse_format(arguments.text("fmt"));
    if (!format) {
        return util::fail(format.error());
    }
    if (host.machine().vcpus().empty()) {
        return util::fail("the machine has no CPU");
    }
    std::string text;
    host.with_parked_vcpus([&] {
        core::Vcpu& vcpu = *host.machine().vcpus()[host.current_cpu];
        const ReadItem read = [&](std::uint64_t address, void* to, unsigned size) {
            // Byte by byte: an item may lie on two pages.
            for (unsigned i = 0; i < size; ++i) {
                const auto physical = vcpu.debug_translate(address + i);
                if (!physical || host.machine().memory().read(*physical,
                                                              static_cast<std::uint8_t*>(to) + i,
                                                              1) != core::MemTxResult::kOk) {
                    return false;
                }
            }
            return true;
        };
        text = dump(*format, static_cast<std::uint64_t>(arguments.integer("addr")), read);
    });
    return Value(std::move(text));
}

}  // namespace

std::vector<Command> memory_commands() {
    return {
        {"x",
         "",
         {{"fmt", ArgumentType::kFormat, true}, {"addr", ArgumentType::kInteger}},
         "/fmt addr",
         "memory as the chosen CPU's page tables map it, from 'addr' on",
         virtual_memory,
         nullptr},
        {"xp",
         "",
         {{"fmt", ArgumentType::kFormat, true}, {"addr", ArgumentType::kInteger}},
         "/fmt addr",
         "physical memory, from 'addr' on",
         physical,
         nullptr},
    };
}

}  // namespace rhea::monitor
