// One fuzz input for the driver of any format: the bytes of an image file. It is opened, read, checked and written. Whatever it
// says, that ends with errors, never with a crash, much memory, or a write to an image that is opened read-only.
#pragma once
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/block/driver.h"

namespace rhea::block {

/// Makes checksums right again, so that what they protect is looked at, too.
void fix_checksums(std::string_view driver, std::vector<std::uint8_t> &bytes);

/// Aborts where the driver breaks a promise; `random` chooses places.
void run_format_input(IoContext &context, const std::string &driver, std::vector<std::uint8_t> bytes, OpenFlags flags,
                      std::mt19937_64 &random);

} // namespace rhea::block
