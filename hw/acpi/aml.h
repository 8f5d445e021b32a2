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

// Statements and what they are made of; a path may stand wherever a value does.
Bytes path(std::string_view name);
Bytes local(unsigned number); ///< 0 to 7
Bytes store(const Bytes &value, const Bytes &target);
Bytes and_(const Bytes &left, const Bytes &right);
Bytes if_(const Bytes &condition, const Bytes &body);
Bytes notify(std::string_view object, std::uint8_t value);
/// OperationRegion (path, SystemIO, base, length), (path, SystemMemory, base, length).
Bytes io_region(std::string_view name, std::uint16_t base, std::uint16_t length);
Bytes memory_region(std::string_view name, std::uint32_t base, std::uint32_t length);
/// Field (region, DWordAcc, NoLock, WriteAsZeros) of 32-bit units, named one after another.
Bytes dword_fields(std::string_view region, std::initializer_list<std::string_view> names);

/// Resource descriptors (section 6.4); wrap them with resources().
Bytes resources(std::initializer_list<Bytes> descriptors);
Bytes io(std::uint16_t base, std::uint8_t length);
Bytes irq(unsigned number);
enum class Trigger : std::uint8_t { kLevel, kEdge };
/// A global system interrupt of this device's own, active high.
Bytes interrupt(std::uint32_t gsi, Trigger trigger);
Bytes memory32_fixed(std::uint32_t base, std::uint32_t length);
Bytes word_bus(std::uint16_t first, std::uint16_t last);
Bytes word_io(std::uint16_t first, std::uint16_t last);
Bytes dword_memory(std::uint32_t first, std::uint32_t last);

} // namespace rhea::hw::aml
