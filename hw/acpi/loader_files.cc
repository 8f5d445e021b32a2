// The tables as files of fw_cfg. The script is a sequence of commands of 128 bytes, each a 32-bit number and its arguments (SeaBIOS,
// "romfile loader": ALLOCATE, ADD_POINTER, ADD_CHECKSUM); file names take 56 bytes.
#include "hw/acpi/tables.h"

#include <cstring>
#include <string_view>

namespace rhea::hw::acpi {
namespace {

constexpr std::string_view kRsdpFile = "etc/acpi/rsdp", kTablesFile = "etc/acpi/tables";
constexpr std::size_t kCommandSize = 128, kNameSize = 56;
constexpr std::uint32_t kRsdpLength = 36;
enum : std::uint32_t { kAllocate = 1, kAddPointer = 2, kAddChecksum = 3 };
/// Where ALLOCATE puts a file: anywhere high, or in 0xf0000 to 0xfffff, where an RSDP is looked for.
enum : std::uint8_t { kZoneHigh = 1, kZoneFseg = 2 };

class Script {
public:
    Script &command(std::uint32_t number) {
        at_ = bytes_.size();
        bytes_.resize(at_ + kCommandSize, 0);
        return value(number, 4);
    }
    Script &file(std::string_view name) {
        std::memcpy(&bytes_[at_], name.data(), name.size());
        at_ += kNameSize;
        return *this;
    }
    Script &value(std::uint32_t value, unsigned size) {
        std::memcpy(&bytes_[at_], &value, size);
        at_ += size;
        return *this;
    }
    std::vector<std::uint8_t> take() { return std::move(bytes_); }

private:
    std::vector<std::uint8_t> bytes_;
    std::size_t at_ = 0;
};

/// Which file holds an offset of the blob, and where in it.
struct Place {
    explicit Place(std::uint32_t offset)
        : file(offset < kRsdpSpace ? kRsdpFile : kTablesFile), offset(offset < kRsdpSpace ? offset : offset - kRsdpSpace) {}
    std::string_view file;
    std::uint32_t offset;
};

} // namespace

LoaderFiles build_loader_files(const std::function<Blob(std::uint64_t)> &build) {
    // As if the tables lay at 0 and the RSDP in front of them: addresses come out as offsets in the tables' file.
    const Blob blob = build(0 - std::uint64_t{kRsdpSpace});
    LoaderFiles files;
    files.rsdp.assign(blob.bytes.begin(), blob.bytes.begin() + kRsdpLength);
    files.tables.assign(blob.bytes.begin() + kRsdpSpace, blob.bytes.end());
    const auto byte_at = [&](std::uint32_t offset) -> std::uint8_t & {
        return offset < kRsdpSpace ? files.rsdp[offset] : files.tables[offset - kRsdpSpace];
    };
    Script script;
    script.command(kAllocate).file(kRsdpFile).value(16, 4).value(kZoneFseg, 1);
    script.command(kAllocate).file(kTablesFile).value(64, 4).value(kZoneHigh, 1);
    for (const Blob::Pointer &pointer : blob.pointers) {
        const Place place(pointer.offset);
        script.command(kAddPointer).file(place.file).file(kTablesFile).value(place.offset, 4).value(pointer.size, 1);
    }
    for (const Blob::Checksum &sum : blob.checksums) {
        const Place place(sum.offset), start(sum.start);
        byte_at(sum.offset) = 0;
        script.command(kAddChecksum).file(place.file).value(place.offset, 4).value(start.offset, 4).value(sum.length, 4);
    }
    files.script = script.take();
    return files;
}

} // namespace rhea::hw::acpi
