// Device state as named, typed, versioned fields.
//
// One serialize(Archive&) saves, restores and prints: each field is named once. Sections are named
// by stable place (bus address or user-given id), never by creation order. A reader meets fields
// by name; a field that an older version lacks keeps the default that the caller gives.
#pragma once
#include "rhea/util/result.h"

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rhea::core {

class Archive {
public:
    enum class Mode : std::uint8_t { kSave, kRestore, kPrint };
    virtual ~Archive() = default;

    Mode mode() const { return mode_; }
    bool restoring() const { return mode_ == Mode::kRestore; }
    /// The version of the section being read, or the one being written.
    unsigned version() const { return version_; }

    /// A named group with its version. When restoring, a stored version above `version` is an
    /// error (state from a newer emulator).
    void section(std::string_view name, unsigned version, const std::function<void(Archive &)> &body);

    template <typename T>
        requires(std::is_integral_v<T> || std::is_enum_v<T>)
    void field(std::string_view name, T &value) {
        std::uint64_t raw = static_cast<std::uint64_t>(value);
        integer(name, raw, sizeof(T));
        value = static_cast<T>(raw);
    }
    /// Added in section version `since`: older state leaves `fallback`.
    template <typename T> void field_since(unsigned since, std::string_view name, T &value, T fallback = {}) {
        if (restoring() && version() < since)
            value = fallback;
        else
            field(name, value);
    }
    void field(std::string_view name, std::string &value) { text(name, value); }
    /// Fixed-size bytes (registers files, FIFOs, RAM-like memories).
    void bytes(std::string_view name, std::span<std::uint8_t> data) { blob(name, data); }
    /// Variable length; restoring refuses more than `limit` bytes.
    void bytes(std::string_view name, std::vector<std::uint8_t> &data, std::size_t limit) {
        variable_blob(name, data, limit);
    }
    template <typename T, std::size_t N> void field(std::string_view name, std::array<T, N> &values) {
        array_field(name, std::span<T>(values));
    }
    template <typename T, std::size_t N> void field(std::string_view name, T (&values)[N]) {
        array_field(name, std::span<T>(values));
    }

    /// The first thing that went wrong (missing field, wrong type or size, newer version, a value that a
    /// device refused through fail()); later calls are no-ops that leave values untouched.
    const util::Result<void> &status() const { return status_; }
    bool ok() const { return status_.has_value(); }
    void fail(std::string reason); ///< prefixed with the section's path

protected:
    explicit Archive(Mode mode) : mode_(mode) {}
    virtual void begin_section(std::string_view name, unsigned &version) = 0;
    virtual void end_section() = 0;
    virtual void integer(std::string_view name, std::uint64_t &value, unsigned size) = 0;
    virtual void text(std::string_view name, std::string &value) = 0;
    virtual void blob(std::string_view name, std::span<std::uint8_t> data) = 0;
    virtual void variable_blob(std::string_view name, std::vector<std::uint8_t> &data, std::size_t limit) = 0;

private:
    template <typename T> void array_field(std::string_view name, std::span<T> values) {
        for (std::size_t i = 0; i < values.size(); ++i)
            field(element_name(name, i), values[i]);
    }
    static std::string element_name(std::string_view name, std::size_t index);

    Mode mode_;
    unsigned version_ = 0;
    std::vector<std::string> path_;
    util::Result<void> status_;
};

/// Writes into / reads from a byte vector (little endian, self-describing).
std::unique_ptr<Archive> make_memory_writer(std::vector<std::uint8_t> &out);
std::unique_ptr<Archive> make_memory_reader(std::span<const std::uint8_t> in);
/// Prints `path.name = value` lines (tests, debugging).
std::unique_ptr<Archive> make_printer(std::string &out);

} // namespace rhea::core
