#include "tests/golden/producers.h"

#include <fmt/format.h>

#include "tests/golden/fixture.h"
#include "tests/golden/host_listing.h"

namespace rhea::golden {

util::Result<std::string> produce_host_listing(std::string_view input) {
    const auto bytes = parse_bytes(input);
    if (!bytes) {
        return util::fail(bytes.error());
    }
    const HostListing listing = list_host_code(*bytes, 0x100000000);
    return fmt::format("# {} instructions, {} bytes, {} calls\n{}", listing.instructions,
                       listing.bytes, listing.calls, listing.text);
}

namespace {

constexpr Producer kProducers[] = {
    {"host-listing", "x86-64 code in hexadecimal, listed", produce_host_listing},
    {"x86-code", "guest x86 code in hexadecimal, as generated host code", produce_x86_code},
    {"x86-row-calls", "rows of the x86 decoder whose hot path calls C++", produce_x86_row_calls},
};

}  // namespace

std::span<const Producer> producers() {
    return kProducers;
}

const Producer* find_producer(std::string_view name) {
    for (const Producer& producer : kProducers) {
        if (producer.name == name) {
            return &producer;
        }
    }
    return nullptr;
}

}  // namespace rhea::golden
