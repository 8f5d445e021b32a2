#include "hw/input/port92.h"

namespace rhea::hw {
namespace {

constexpr std::uint64_t kFastReset = 1u << 0;
constexpr std::uint64_t kFastA20 = 1u << 1;

}  // namespace

Port92::Port92(core::MachineRequests& requests, core::IrqLine a20)
    : requests_(requests),
      a20_(a20),
      bank_("port92", 1),
      region_(core::MemoryRegion::io("port92", 1, bank_)) {
    bank_.add({.offset = 0,
               .name = "PORT92",
               .reset = kFastA20,  // the gate is open at reset
               .write_mask = 0xff & ~std::uint64_t{kFastReset},
               .on_write = [this](std::uint64_t, std::uint64_t now) { a20_.set(now & kFastA20); },
               .write_value = [this](std::uint64_t, std::uint64_t written) -> std::uint64_t {
                   if (written & kFastReset) {
                       requests_.request_reset(core::ShutdownCause::kGuestReset);
                   }
                   return written & ~kFastReset;
               }});
}

void Port92::reset() {
    bank_.reset();
    a20_.raise();
}

}  // namespace rhea::hw
