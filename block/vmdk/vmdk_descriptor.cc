#include "block/vmdk/vmdk_descriptor.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

namespace rhea::block {

namespace {

constexpr std::size_t kMaxExtents = 4096;

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlank(" \t\r\n\0", 5);
    const auto first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos)
        return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// The first line of `text`, which goes on behind it.
std::string_view next_line(std::string_view &text) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    return trim(line);
}

std::string_view next_word(std::string_view &line) {
    line = trim(line);
    if (line.starts_with('"')) {
        const auto end = std::min(line.find('"', 1), line.size());
        const std::string_view word = line.substr(1, end - 1);
        line = end < line.size() ? line.substr(end + 1) : std::string_view();
        return word;
    }
    const auto end = std::min(line.find_first_of(" \t"), line.size());
    const std::string_view word = line.substr(0, end);
    line = line.substr(end);
    return word;
}

template <typename T> bool number(std::string_view text, T &value, int base = 10) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool is_access(std::string_view word) { return word == "RW" || word == "RDONLY" || word == "NOACCESS"; }

util::Failure refuse(const std::string &filename, std::string sentence) {
    return util::fail(util::Error("{}: {}", filename, sentence).with_code(EINVAL));
}

util::Result<VmdkExtentLine> parse_extent(std::string_view line, const std::string &filename) {
    const std::string all(line);
    VmdkExtentLine extent;
    extent.access = next_word(line);
    if (!number(next_word(line), extent.sectors) || extent.sectors > INT64_MAX / kVmdkSector)
        return refuse(filename, fmt::format("the descriptor's extent '{}' has no valid number of sectors", all));
    extent.type = next_word(line);
    if (extent.type == "ZERO")
        return extent;
    extent.filename = next_word(line);
    if (extent.filename.empty())
        return refuse(filename, fmt::format("the descriptor's extent '{}' names no file", all));
    const std::string_view offset = next_word(line);
    if (!offset.empty() && (!number(offset, extent.offset) || extent.offset > INT64_MAX / kVmdkSector))
        return refuse(filename, fmt::format("the descriptor's extent '{}' has no valid offset", all));
    return extent;
}

} // namespace

bool VmdkDescriptor::looks_like_one(std::string_view head) {
    while (!head.empty()) {
        const std::string_view line = next_line(head);
        if (line.empty() || line.starts_with('#'))
            continue;
        return line == "version=1" || line == "version=2" || line == "version=3";
    }
    return false;
}

util::Result<VmdkDescriptor> VmdkDescriptor::parse(std::string_view text, const std::string &filename) {
    VmdkDescriptor descriptor;
    bool has_cid = false;
    text = text.substr(0, text.find('\0'));
    while (!text.empty()) {
        std::string_view line = next_line(text);
        if (line.empty() || line.starts_with('#'))
            continue;
        std::string_view words = line;
        if (is_access(next_word(words))) {
            auto extent = parse_extent(line, filename);
            if (!extent)
                return util::fail(extent.error());
            if (descriptor.extents.size() == kMaxExtents)
                return refuse(filename, fmt::format("the descriptor has more than {} extents", kMaxExtents));
            descriptor.extents.push_back(std::move(*extent));
            continue;
        }
        const auto equals = line.find('=');
        if (equals == std::string_view::npos)
            continue;
        const std::string_view key = trim(line.substr(0, equals));
        std::string_view rest = line.substr(equals + 1);
        const std::string_view value = next_word(rest);
        if (key == "CID")
            has_cid = number(value, descriptor.cid, 16);
        else if (key == "parentCID" && !number(value, descriptor.parent_cid, 16))
            return refuse(filename, fmt::format("the descriptor's parentCID '{}' is no number", value));
        else if (key == "createType")
            descriptor.create_type = value;
        else if (key == "parentFileNameHint")
            descriptor.parent_hint = value;
    }
    if (!has_cid)
        return refuse(filename, "the descriptor has no valid CID");
    if (descriptor.create_type.empty())
        return refuse(filename, "the descriptor has no createType");
    if (descriptor.extents.empty())
        return refuse(filename, "the descriptor names no extent");
    return descriptor;
}

std::string VmdkDescriptor::with_cid(std::string_view text, std::uint32_t cid) {
    std::string result;
    text = text.substr(0, text.find('\0'));
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size() - 1) + 1;
        const std::string_view line = text.substr(0, end);
        if (trim(line).starts_with("CID="))
            result += fmt::format("CID={:08x}\n", cid);
        else
            result += line;
        text = text.substr(end);
    }
    return result;
}

std::string vmdk_descriptor_text(const VmdkDescriptor &descriptor, const VmdkDescriptorSettings &settings) {
    std::string text = "# Disk DescriptorFile\nversion=1\n";
    text += fmt::format("CID={:08x}\nparentCID={:08x}\ncreateType=\"{}\"\n", descriptor.cid, descriptor.parent_cid,
                        descriptor.create_type);
    if (!descriptor.parent_hint.empty())
        text += fmt::format("parentFileNameHint=\"{}\"\n", descriptor.parent_hint);
    text += "\n# Extent description\n";
    for (const VmdkExtentLine &extent : descriptor.extents) {
        text += fmt::format("{} {} {} \"{}\"", extent.access, extent.sectors, extent.type, extent.filename);
        text += extent.type == "FLAT" ? fmt::format(" {}\n", extent.offset) : "\n";
    }
    const unsigned heads = settings.adapter_type == "ide" ? 16 : 255;
    text += "\n# The Disk Data Base\n#DDB\n\n";
    text += fmt::format("ddb.virtualHWVersion = \"{}\"\n", settings.hardware_version);
    text += fmt::format("ddb.geometry.cylinders = \"{}\"\n", settings.size / (63 * heads * kVmdkSector));
    text += fmt::format("ddb.geometry.heads = \"{}\"\nddb.geometry.sectors = \"63\"\n", heads);
    text += fmt::format("ddb.adapterType = \"{}\"\nddb.toolsVersion = \"{}\"\n", settings.adapter_type,
                        settings.tools_version);
    return text;
}

} // namespace rhea::block
