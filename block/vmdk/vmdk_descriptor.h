// The descriptor of VMware disk images: a text that names the disk's extents ("Virtual Disk Format 5.0", VMware).
//
// It is a file of its own or lies inside the only extent.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/util/result.h"

namespace rhea::block {

constexpr std::uint32_t kVmdkNoParent = 0xffffffff;
constexpr std::uint64_t kVmdkSector = 512;

struct VmdkExtentLine {
    std::string access, type, filename; ///< "RW", "SPARSE", "disk-s001.vmdk"
    std::uint64_t sectors = 0;
    std::uint64_t offset = 0; ///< FLAT: in the file, sectors
};

struct VmdkDescriptor {
    std::uint32_t cid = 0, parent_cid = kVmdkNoParent;
    std::string create_type, parent_hint;
    std::vector<VmdkExtentLine> extents;

    /// `filename`: for messages.
    static util::Result<VmdkDescriptor> parse(std::string_view text, const std::string &filename);
    /// Do comments, empty lines and a version line begin the text?
    static bool looks_like_one(std::string_view head);
    /// The text with another CID.
    static std::string with_cid(std::string_view text, std::uint32_t cid);
};

/// What a new descriptor says besides its extents.
struct VmdkDescriptorSettings {
    std::string adapter_type = "ide", hardware_version = "4", tools_version = "2147483647";
    std::uint64_t size = 0; ///< bytes
};
std::string vmdk_descriptor_text(const VmdkDescriptor &descriptor, const VmdkDescriptorSettings &settings);

} // namespace rhea::block
