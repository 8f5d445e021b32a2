// Builds ACPI Machine Language: each function returns the bytes of one object (ACPI 6.4, chapter 20).
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace rhea::hw::aml {

using Bytes = std::vector<std::uint8_t>;

Bytes concat(std::initializer_list<Bytes> parts);

Bytes integer(std::uint64_t value);
Bytes string(std::string_view text);
Bytes eisa_id(std::string_view id);                    ///< "PNP0A03"
Bytes package(std::initializer_list<Bytes> elements);
Bytes package(const std::vector<Bytes> &elements);
Bytes buffer(const Bytes &data);

Bytes name(std::string_view path, const Bytes &object); ///< Name (path, object); segments of up to 4 letters, "\\" root
Bytes scope(std::string_view path, const Bytes &body);
Bytes device(std::string_view path, const Bytes &body);
Bytes method(std::string_view path, unsigned arguments, const Bytes &body);
Bytes return_(const Bytes &value);

/// Resource descriptors (section 6.4); wrap them with resources().
Bytes resources(std::initializer_list<Bytes> descriptors);
Bytes io(std::uint16_t base, std::uint8_t length);
Bytes irq(unsigned number);
Bytes memory32_fixed(std::uint32_t base, std::uint32_t length);
Bytes word_bus(std::uint16_t first, std::uint16_t last);
Bytes word_io(std::uint16_t first, std::uint16_t last);
Bytes dword_memory(std::uint32_t first, std::uint32_t last);

} // namespace rhea::hw::aml
