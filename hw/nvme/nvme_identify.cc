// NVMe controller: the Identify data structures (5.15).
#include "hw/nvme/nvme_controller.h"

#include <algorithm>
#include <fmt/format.h>

namespace rhea::hw::nvme {
namespace {

constexpr std::size_t kIdentifySize = 4096;

enum Structure : std::uint8_t { kNamespaceData = 0, kControllerData = 1, kActiveList = 2, kDescriptors = 3 };

class Fields {
public:
    Fields() : bytes_(kIdentifySize) {}
    void set(std::size_t at, unsigned size, std::uint64_t value) {
        for (unsigned i = 0; i < size; ++i)
            bytes_[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
    void text(std::size_t at, std::size_t size, std::string_view text, char padding) {
        for (std::size_t i = 0; i < size; ++i)
            bytes_[at + i] = static_cast<std::uint8_t>(i < text.size() ? text[i] : padding);
    }
    std::vector<std::uint8_t> take() { return std::move(bytes_); }

private:
    std::vector<std::uint8_t> bytes_;
};

std::string uuid_text(const std::array<std::uint8_t, 16> &uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i)
        text += fmt::format("{}{:02x}", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
    return text;
}

} // namespace

std::vector<std::uint8_t> NvmeController::controller_data() const {
    Fields fields;
    fields.set(0, 2, 0x1b36); // VID
    fields.set(2, 2, 0x1af4); // SSVID
    fields.text(4, 20, settings_.serial(), ' ');
    fields.text(24, 40, "QEMU NVMe Ctrl", ' ');
    fields.text(64, 8, "1.0", ' ');
    fields.set(72, 1, 6);               // RAB
    fields.set(73, 3, 0x525400);        // IEEE
    fields.set(77, 1, max_transfer_shift_);
    fields.set(80, 4, kVersion);
    fields.set(92, 4, 1u << 8);         // OAES: namespace attribute notices
    fields.set(111, 1, 1);              // CNTRLTYPE: I/O controller
    fields.set(258, 1, 3);              // ACL
    fields.set(259, 1, 3);              // AERL
    fields.set(260, 1, 1 | 1 << 1);     // FRMW: one slot, read-only
    fields.set(261, 1, 1 << 1 | 1 << 2); // LPA: commands supported, extended log pages
    fields.set(266, 2, 343);            // WCTEMP, CCTEMP: kelvin
    fields.set(268, 2, 373);
    fields.set(512, 1, kCommandShift << 4 | kCommandShift);
    fields.set(513, 1, kCompletionShift << 4 | kCompletionShift);
    fields.set(516, 4, 1);              // NN
    fields.set(520, 2, 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 6); // ONCS: compare, DSM, write zeroes, select, timestamp
    fields.set(525, 1, 1 | 3 << 1);     // VWC: there is one; flush takes all namespaces too
    fields.text(768, 256, "nqn.2014-08.org.nvmexpress:uuid:" + uuid_text(uuid_), '\0');
    fields.set(2048, 2, 2500);          // PSD0: 25 W
    return fields.take();
}

std::vector<std::uint8_t> NvmeController::namespace_data() const {
    Fields fields;
    const std::uint64_t blocks = namespace_blocks();
    fields.set(0, 8, blocks);  // NSZE, NCAP, NUSE
    fields.set(8, 8, blocks);
    fields.set(16, 8, blocks);
    fields.set(24, 1, 1u << 4); // NSFEAT: the preferred sizes below are valid
    fields.set(33, 1, 1u << 3); // DLFEAT: Write Zeroes may deallocate
    const std::uint32_t write = settings_.physical_block_size() >> block_shift_;
    const std::uint32_t discard = std::max(settings_.discard_granularity() >> block_shift_, std::max(4096u >> block_shift_, 1u));
    fields.set(64, 2, write - 1);   // NPWG, NPWA
    fields.set(66, 2, write - 1);
    fields.set(68, 2, std::min(discard, 65536u) - 1); // NPDG, NPDA
    fields.set(70, 2, std::min(discard, 65536u) - 1);
    fields.set(99, 1, io_->disk().read_only()); // NSATTR: write protected
    fields.set(130, 1, block_shift_); // LBAF0.LBADS
    return fields.take();
}

/// A UUID, which is stable for a serial number.
std::vector<std::uint8_t> NvmeController::namespace_descriptors() const {
    Fields fields;
    fields.set(0, 1, 3);
    fields.set(1, 1, uuid_.size());
    for (std::size_t i = 0; i < uuid_.size(); ++i)
        fields.set(4 + i, 1, uuid_[i]);
    return fields.take();
}

NvmeController::Outcome NvmeController::identify(const Command &command) {
    constexpr std::uint16_t kBadNamespace = kInvalidNamespace | kDoNotRetry;
    switch (command.dw[0] & 0xff) {
    case kNamespaceData:
        if (command.nsid == kAllNamespaces) {
            // What all namespaces have in common: the formats.
            std::vector<std::uint8_t> common(kIdentifySize);
            common[130] = static_cast<std::uint8_t>(block_shift_);
            return send(command, common);
        }
        return command.nsid == kNamespace ? send(command, namespace_data()) : Outcome{kBadNamespace};
    case kControllerData:
        return send(command, controller_data());
    case kActiveList: {
        if (command.nsid >= kAllNamespaces - 1)
            return {kBadNamespace};
        std::vector<std::uint8_t> list(kIdentifySize);
        list[0] = command.nsid < kNamespace ? kNamespace : 0;
        return send(command, list);
    }
    case kDescriptors:
        return command.nsid == kNamespace ? send(command, namespace_descriptors()) : Outcome{kBadNamespace};
    default:
        return {kInvalidField | kDoNotRetry};
    }
}

} // namespace rhea::hw::nvme
