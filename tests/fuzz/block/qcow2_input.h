// One fuzz input for the qcow2 driver: the bytes of an image file. It is opened in each way, read, checked, written,
// repaired. Whatever it says, that ends with errors, never with a crash or with memory beyond reason.
#pragma once
#include <cstdint>
#include <span>

namespace rhea::block::qcow2 {

void run_fuzz_input(std::span<const std::uint8_t> bytes);

} // namespace rhea::block::qcow2
