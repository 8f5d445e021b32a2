// map: where the bytes of an image lie.
#include "tools/img/image.h"

namespace rhea::img {
namespace {

/// Do two neighbouring ranges print as one?
bool continues(const Mapped& before, std::uint64_t length, const Mapped& next) {
    if (before.extent.data != next.extent.data || before.extent.zero != next.extent.zero ||
        before.depth != next.depth || before.present != next.present || before.node != next.node ||
        before.extent.host_offset.has_value() != next.extent.host_offset.has_value() ||
        before.extent.compressed != next.extent.compressed) {
        return false;
    }
    return !before.extent.host_offset || *before.extent.host_offset + length == *next.extent.host_offset;
}

class Printer {
  public:
    explicit Printer(bool json) : json_(json) {
        if (!json) {
            fmt::print("{:<16}{:<16}{:<16}{}\n", "Offset", "Length", "Mapped to", "File");
        }
    }
    Result<void> entry(std::uint64_t start, std::uint64_t length, const Mapped& mapped) {
        if (json_) {
            fmt::print("{}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, \"data\": {}",
                       first_ ? "[" : ",\n", start, length, mapped.depth, mapped.present, mapped.extent.zero,
                       mapped.extent.data);
            if (mapped.extent.host_offset) {
                fmt::print(", \"offset\": {}", *mapped.extent.host_offset);
            }
            fmt::print("}}");
            first_ = false;
            return {};
        }
        if (!mapped.extent.data || mapped.extent.zero) {
            return {};
        }
        if (!mapped.extent.host_offset) {
            return fail("the image has external, encrypted or compressed clusters, which this list cannot show; use "
                        "--output=json");
        }
        const block::BlockNode* file = mapped.extent.file ? mapped.extent.file : mapped.node;
        auto asking = const_cast<block::BlockNode*>(file)->info();
        auto info = file->context().run(std::move(asking));
        // As in "%#x", a zero has no prefix.
        const auto hex = [](std::uint64_t value) { return value ? fmt::format("{:#x}", value) : std::string("0"); };
        fmt::print("{:<16}{:<16}{:<16}{}\n", hex(start), hex(length), hex(*mapped.extent.host_offset), info ? info->filename : "");
        return {};
    }
    void end() const {
        if (json_) {
            fmt::print("{}]\n", first_ ? "[" : "");
        }
    }

  private:
    bool json_;
    bool first_ = true;
};

}  // namespace

Result<int> run_map(Run& run) {
    if (auto done = run.need_operands(1, 1); !done) {
        return fail(done.error());
    }
    const auto json = run.json();
    if (!json) {
        return fail(json.error());
    }
    const auto start = run.size("start-offset", 0);
    if (!start) {
        return fail(start.error());
    }
    const auto most = run.size("max-length", UINT64_MAX);
    if (!most) {
        return fail(most.error());
    }
    auto spec = image_spec(run, run.operands()[0]);
    if (!spec) {
        return fail(spec.error());
    }
    spec->flags.read_only = true;
    auto image = Image::open(run, *spec);
    if (!image) {
        return fail(image.error());
    }
    const std::uint64_t end = *most > image->length() - std::min(image->length(), *start)
                                  ? image->length()
                                  : *start + *most;
    Printer printer(*json);
    Mapped pending;
    std::uint64_t pending_start = *start, pending_length = 0;
    for (std::uint64_t offset = *start; offset < end;) {
        auto asking = map_range(image->node(), offset, end - offset);
        auto mapped = run.context().run(std::move(asking));
        if (!mapped) {
            return fail(mapped.error());
        }
        const std::uint64_t length = std::min(mapped->extent.length, end - offset);
        if (pending_length && continues(pending, pending_length, *mapped)) {
            pending_length += length;
        } else {
            if (pending_length) {
                if (auto done = printer.entry(pending_start, pending_length, pending); !done) {
                    return fail(done.error());
                }
            }
            pending = *mapped;
            pending_start = offset;
            pending_length = length;
        }
        offset += length;
    }
    if (pending_length) {
        if (auto done = printer.entry(pending_start, pending_length, pending); !done) {
            return fail(done.error());
        }
    }
    printer.end();
    return 0;
}

}  // namespace rhea::img
