// Archives over a byte vector. A field is (tag, name length, name, size, bytes); a section nests between a begin field, whose
// value is the version, and an end field. The reader looks fields up by name inside the section, so order and additions do not matter.
#include "rhea/core/archive.h"

#include <cstring>
#include <fmt/format.h>
#include <map>
#include <optional>

namespace rhea::core {
namespace {

enum class Tag : std::uint8_t { kInteger = 1, kText, kBlob, kBegin, kEnd };

class Writer final : public Archive {
public:
    explicit Writer(std::vector<std::uint8_t> &out) : Archive(Mode::kSave), out_(out) {}

protected:
    void begin_section(std::string_view name, unsigned &version) override {
        const std::uint32_t value = version;
        put(Tag::kBegin, name, &value, sizeof value);
    }
    void end_section() override { put(Tag::kEnd, "", nullptr, 0); }
    void integer(std::string_view name, std::uint64_t &value, unsigned size) override { put(Tag::kInteger, name, &value, size); }
    void text(std::string_view name, std::string &value) override { put(Tag::kText, name, value.data(), value.size()); }
    void blob(std::string_view name, std::span<std::uint8_t> data) override { put(Tag::kBlob, name, data.data(), data.size()); }
    void variable_blob(std::string_view name, std::vector<std::uint8_t> &data, std::size_t) override {
        put(Tag::kBlob, name, data.data(), data.size());
    }

private:
    void put(Tag tag, std::string_view name, const void *data, std::size_t size) {
        out_.push_back(static_cast<std::uint8_t>(tag));
        raw(static_cast<std::uint16_t>(name.size()));
        out_.insert(out_.end(), name.begin(), name.end());
        raw(static_cast<std::uint64_t>(size));
        const auto *bytes = static_cast<const std::uint8_t *>(data);
        out_.insert(out_.end(), bytes, bytes + size);
    }
    template <typename T> void raw(T value) {
        std::uint8_t bytes[sizeof value];
        std::memcpy(bytes, &value, sizeof value);
        out_.insert(out_.end(), bytes, bytes + sizeof value);
    }
    std::vector<std::uint8_t> &out_;
};

class Reader final : public Archive {
public:
    explicit Reader(std::span<const std::uint8_t> in) : Archive(Mode::kRestore) {
        Section root;
        std::size_t at = 0;
        if (!parse(in, at, root, 0))
            fail("the saved state is damaged or cut short");
        sections_.push_back(std::make_shared<Section>(std::move(root)));
    }

protected:
    void begin_section(std::string_view name, unsigned &version) override {
        auto it = sections_.back()->children.find(name);
        if (it == sections_.back()->children.end()) {
            fail("there is no saved state for it");
            return;
        }
        version = it->second->version;
        sections_.push_back(it->second);
    }
    void end_section() override { sections_.pop_back(); }
    void integer(std::string_view name, std::uint64_t &value, unsigned size) override {
        const auto data = find(name, Tag::kInteger);
        if (!data)
            return;
        if (data->size() != size) {
            fail(fmt::format("field '{}' has {} bytes, {} expected", name, data->size(), size));
            return;
        }
        value = 0;
        std::memcpy(&value, data->data(), size);
    }
    void text(std::string_view name, std::string &value) override {
        if (const auto data = find(name, Tag::kText))
            value.assign(reinterpret_cast<const char *>(data->data()), data->size());
    }
    void blob(std::string_view name, std::span<std::uint8_t> out) override {
        const auto data = find(name, Tag::kBlob);
        if (!data)
            return;
        if (data->size() != out.size())
            fail(fmt::format("field '{}' has {} bytes, {} expected", name, data->size(), out.size()));
        else if (!out.empty())
            std::memcpy(out.data(), data->data(), out.size());
    }
    void variable_blob(std::string_view name, std::vector<std::uint8_t> &out, std::size_t limit) override {
        const auto data = find(name, Tag::kBlob);
        if (!data)
            return;
        if (data->size() > limit)
            fail(fmt::format("field '{}' has {} bytes, {} is the most", name, data->size(), limit));
        else
            out.assign(data->begin(), data->end());
    }

private:
    struct Section {
        unsigned version = 0;
        std::map<std::string, std::pair<Tag, std::span<const std::uint8_t>>, std::less<>> fields;
        std::map<std::string, std::shared_ptr<Section>, std::less<>> children;
    };

    static bool parse(std::span<const std::uint8_t> in, std::size_t &at, Section &into, unsigned depth) {
        while (at < in.size()) {
            if (in.size() - at < 11)
                return false;
            const Tag tag = static_cast<Tag>(in[at]);
            std::uint16_t name_size;
            std::memcpy(&name_size, in.data() + at + 1, 2);
            at += 3;
            if (in.size() - at < std::size_t{name_size} + 8)
                return false;
            std::string name(reinterpret_cast<const char *>(in.data() + at), name_size);
            at += name_size;
            std::uint64_t size;
            std::memcpy(&size, in.data() + at, 8);
            at += 8;
            if (size > in.size() - at)
                return false;
            const auto data = in.subspan(at, size);
            at += size;
            switch (tag) {
            case Tag::kEnd:
                return depth > 0;
            case Tag::kBegin: {
                if (size != 4 || depth > 16)
                    return false;
                auto child = std::make_shared<Section>();
                std::uint32_t version;
                std::memcpy(&version, data.data(), 4);
                child->version = version;
                if (!parse(in, at, *child, depth + 1))
                    return false;
                into.children[std::move(name)] = std::move(child);
                break;
            }
            case Tag::kInteger:
            case Tag::kText:
            case Tag::kBlob:
                into.fields[std::move(name)] = {tag, data};
                break;
            default:
                return false;
            }
        }
        return depth == 0;
    }

    std::optional<std::span<const std::uint8_t>> find(std::string_view name, Tag tag) {
        if (!ok())
            return std::nullopt;
        auto it = sections_.back()->fields.find(name);
        if (it == sections_.back()->fields.end()) {
            fail(fmt::format("field '{}' is missing", name));
            return std::nullopt;
        }
        if (it->second.first != tag) {
            fail(fmt::format("field '{}' has another type", name));
            return std::nullopt;
        }
        return it->second.second;
    }

    std::vector<std::shared_ptr<Section>> sections_;
};

class Printer final : public Archive {
public:
    explicit Printer(std::string &out) : Archive(Mode::kPrint), out_(out) {}

protected:
    void begin_section(std::string_view name, unsigned &) override {
        lengths_.push_back(prefix_.size());
        prefix_ += name;
        prefix_ += '.';
    }
    void end_section() override {
        prefix_.resize(lengths_.back());
        lengths_.pop_back();
    }
    void integer(std::string_view name, std::uint64_t &value, unsigned) override { line(name, fmt::format("{:#x}", value)); }
    void text(std::string_view name, std::string &value) override { line(name, value); }
    void blob(std::string_view name, std::span<std::uint8_t> data) override {
        std::string hex;
        for (std::uint8_t byte : data.first(std::min<std::size_t>(data.size(), 64)))
            hex += fmt::format("{:02x}", byte);
        line(name, data.size() > 64 ? fmt::format("{}... ({} bytes)", hex, data.size()) : hex);
    }
    void variable_blob(std::string_view name, std::vector<std::uint8_t> &data, std::size_t) override { blob(name, data); }

private:
    void line(std::string_view name, std::string_view value) { out_ += fmt::format("{}{} = {}\n", prefix_, name, value); }
    std::string &out_;
    std::string prefix_;
    std::vector<std::size_t> lengths_;
};

} // namespace

std::unique_ptr<Archive> make_memory_writer(std::vector<std::uint8_t> &out) { return std::make_unique<Writer>(out); }
std::unique_ptr<Archive> make_memory_reader(std::span<const std::uint8_t> in) { return std::make_unique<Reader>(in); }
std::unique_ptr<Archive> make_printer(std::string &out) { return std::make_unique<Printer>(out); }

} // namespace rhea::core
