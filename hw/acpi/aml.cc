#include "hw/acpi/aml.h"

#include <cctype>
#include <string>

namespace rhea::hw::aml {
namespace {

void put(Bytes &out, std::uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i)
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

void append(Bytes &out, const Bytes &more) {
    // Not insert(): gcc 12 warns of an overflow that cannot happen there (-Warray-bounds).
    for (std::uint8_t byte : more)
        out.push_back(byte);
}

/// PkgLength (20.2.4): counts itself.
Bytes with_length(const Bytes &body) {
    Bytes out;
    for (unsigned extra = 0; extra < 4; ++extra) {
        const std::size_t total = body.size() + 1 + extra;
        if (extra == 0 && total < 64) {
            out.push_back(static_cast<std::uint8_t>(total));
            break;
        }
        if (extra > 0 && total < (std::size_t{1} << (4 + 8 * extra))) {
            out.push_back(static_cast<std::uint8_t>((extra << 6) | (total & 0xf)));
            put(out, total >> 4, extra);
            break;
        }
    }
    append(out, body);
    return out;
}

/// NameString (20.2.2): "\\_SB.PCI0" and the like; short segments are padded with '_'.
Bytes name_string(std::string_view path) {
    Bytes out;
    if (!path.empty() && path.front() == '\\') {
        out.push_back('\\');
        path.remove_prefix(1);
    }
    std::vector<std::string> segments;
    while (!path.empty()) {
        const std::size_t dot = path.find('.');
        std::string segment(path.substr(0, dot));
        segment.resize(4, '_');
        segments.push_back(segment);
        path = dot == std::string_view::npos ? std::string_view{} : path.substr(dot + 1);
    }
    if (segments.empty())
        out.push_back(0);
    else if (segments.size() == 2)
        out.push_back(0x2e);
    else if (segments.size() > 2) {
        out.push_back(0x2f);
        out.push_back(static_cast<std::uint8_t>(segments.size()));
    }
    for (const std::string &segment : segments) {
        for (char c : segment)
            out.push_back(static_cast<std::uint8_t>(c));
    }
    return out;
}

Bytes with_opcode(std::initializer_list<std::uint8_t> opcode, const Bytes &body) {
    Bytes out;
    for (std::uint8_t byte : opcode)
        out.push_back(byte);
    append(out, with_length(body));
    return out;
}

} // namespace

Bytes concat(std::initializer_list<Bytes> parts) {
    Bytes out;
    for (const Bytes &part : parts)
        append(out, part);
    return out;
}

Bytes integer(std::uint64_t value) {
    Bytes out;
    if (value <= 1) {
        out.push_back(static_cast<std::uint8_t>(value));
        return out;
    }
    const unsigned size = value <= 0xff ? 1 : value <= 0xffff ? 2 : value <= 0xffffffff ? 4 : 8;
    out.push_back(size == 1 ? 0x0a : size == 2 ? 0x0b : size == 4 ? 0x0c : 0x0e);
    put(out, value, size);
    return out;
}

Bytes string(std::string_view text) {
    Bytes out{0x0d};
    for (char c : text)
        out.push_back(static_cast<std::uint8_t>(c));
    out.push_back(0);
    return out;
}

Bytes eisa_id(std::string_view id) {
    const auto letter = [&](std::size_t i) { return static_cast<std::uint32_t>(id[i] - 0x40) & 0x1f; };
    const auto digit = [&](std::size_t i) {
        const int c = std::toupper(static_cast<unsigned char>(id[i]));
        return static_cast<std::uint32_t>(c >= 'A' ? c - 'A' + 10 : c - '0');
    };
    const std::uint32_t big = (letter(0) << 26) | (letter(1) << 21) | (letter(2) << 16) | (digit(3) << 12) |
                              (digit(4) << 8) | (digit(5) << 4) | digit(6);
    Bytes out{0x0c};
    put(out, __builtin_bswap32(big), 4);
    return out;
}

Bytes package(const std::vector<Bytes> &elements) {
    Bytes body{static_cast<std::uint8_t>(elements.size())};
    for (const Bytes &element : elements)
        append(body, element);
    return with_opcode({0x12}, body);
}
Bytes package(std::initializer_list<Bytes> elements) { return package(std::vector<Bytes>(elements)); }

Bytes buffer(const Bytes &data) { return with_opcode({0x11}, concat({integer(data.size()), data})); }

Bytes name(std::string_view path, const Bytes &object) { return concat({{0x08}, name_string(path), object}); }
Bytes scope(std::string_view path, const Bytes &body) {
    return with_opcode({0x10}, concat({name_string(path), body}));
}
Bytes device(std::string_view path, const Bytes &body) {
    return with_opcode({0x5b, 0x82}, concat({name_string(path), body}));
}
Bytes method(std::string_view path, unsigned arguments, const Bytes &body) {
    return with_opcode({0x14}, concat({name_string(path), {static_cast<std::uint8_t>(arguments)}, body}));
}
Bytes return_(const Bytes &value) { return concat({{0xa4}, value}); }

Bytes path(std::string_view name) { return name_string(name); }
Bytes local(unsigned number) { return {static_cast<std::uint8_t>(0x60 + number)}; }
Bytes store(const Bytes &value, const Bytes &target) { return concat({{0x70}, value, target}); }
Bytes and_(const Bytes &left, const Bytes &right) { return concat({{0x7b}, left, right, {0x00}}); }
Bytes if_(const Bytes &condition, const Bytes &body) { return with_opcode({0xa0}, concat({condition, body})); }
Bytes notify(std::string_view object, std::uint8_t value) { return concat({{0x86}, name_string(object), integer(value)}); }

Bytes io_region(std::string_view name, std::uint16_t base, std::uint16_t length) {
    return concat({{0x5b, 0x80}, name_string(name), {0x01}, integer(base), integer(length)});
}
Bytes memory_region(std::string_view name, std::uint32_t base, std::uint32_t length) {
    return concat({{0x5b, 0x80}, name_string(name), {0x00}, integer(base), integer(length)});
}

Bytes dword_fields(std::string_view region, std::initializer_list<std::string_view> names) {
    constexpr std::uint8_t kDwordAccess = 3, kWriteAsZeros = 2 << 5, kBits = 32;
    Bytes body = name_string(region);
    body.push_back(kDwordAccess | kWriteAsZeros);
    for (std::string_view name : names) {
        append(body, name_string(name));
        body.push_back(kBits);
    }
    return with_opcode({0x5b, 0x81}, body);
}

Bytes resources(std::initializer_list<Bytes> descriptors) {
    return buffer(concat({concat(descriptors), {0x79, 0x00}}));
}

Bytes io(std::uint16_t base, std::uint8_t length) {
    Bytes out{0x47, 0x01};
    put(out, base, 2);
    put(out, base, 2);
    put(out, 1, 1);
    put(out, length, 1);
    return out;
}

Bytes irq(unsigned number) {
    Bytes out{0x22};
    put(out, 1u << number, 2);
    return out;
}

Bytes interrupt(std::uint32_t gsi, Trigger trigger) {
    constexpr std::uint8_t kConsumer = 1, kEdge = 2; // 6.4.3.6; exclusive, active high
    Bytes out{0x89, 0x06, 0x00, static_cast<std::uint8_t>(trigger == Trigger::kEdge ? kConsumer | kEdge : kConsumer), 0x01};
    put(out, gsi, 4);
    return out;
}

Bytes memory32_fixed(std::uint32_t base, std::uint32_t length) {
    Bytes out{0x86, 0x09, 0x00, 0x01};
    put(out, base, 4);
    put(out, length, 4);
    return out;
}

namespace {
Bytes word_space(std::uint8_t type, std::uint8_t type_flags, std::uint16_t first, std::uint16_t last) {
    Bytes out{0x88, 0x0d, 0x00, type, 0x0c, type_flags};
    put(out, 0, 2);
    put(out, first, 2);
    put(out, last, 2);
    put(out, 0, 2);
    put(out, static_cast<std::uint32_t>(last) - first + 1, 2);
    return out;
}
} // namespace

Bytes word_bus(std::uint16_t first, std::uint16_t last) { return word_space(2, 0, first, last); }
Bytes word_io(std::uint16_t first, std::uint16_t last) { return word_space(1, 3, first, last); }

Bytes dword_memory(std::uint32_t first, std::uint32_t last) {
    Bytes out{0x87, 0x17, 0x00, 0x00, 0x0c, 0x01};
    put(out, 0, 4);
    put(out, first, 4);
    put(out, last, 4);
    put(out, 0, 4);
    put(out, std::uint64_t{last} - first + 1, 4);
    return out;
}

} // namespace rhea::hw::aml
