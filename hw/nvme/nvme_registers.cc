// NVMe controller: register file, doorbells, switching on and off (NVM Express 1.4, chapters 3 and 7.3, 7.6).
#include "hw/nvme/nvme_controller.h"
#include "rhea/util/log.h"

namespace rhea::hw::nvme {

namespace {
// CAP (3.1.1)
constexpr std::uint64_t kCapMaxQueueEntries = kMaxQueueEntries - 1;
constexpr std::uint64_t kCapContiguousQueues = 1ull << 16;
constexpr std::uint64_t kCapTimeout = 15ull << 24; ///< units of 500 ms
constexpr std::uint64_t kCapNvmCommandSet = 1ull << 37;
constexpr std::uint64_t kCapPageMax = std::uint64_t{kMaxPageShift - 12} << 52;
constexpr std::uint64_t kAsyncErrorEvent = 0;
constexpr std::uint8_t kInvalidDoorbellRegister = 0, kInvalidDoorbellValue = 1, kErrorLog = 1;
} // namespace

void NvmeController::add_registers() {
    const auto plain = [](core::hwaddr offset, unsigned size, std::string_view name, std::uint64_t value) {
        return core::Register{.offset = offset, .size = size, .name = name, .reset = value, .write_mask = 0};
    };
    registers_.add(plain(0x00, 8, "CAP", kCapMaxQueueEntries | kCapContiguousQueues | kCapTimeout | kCapNvmCommandSet | kCapPageMax));
    registers_.add(plain(0x08, 4, "VS", kVersion));
    const auto mask_register = [this](core::hwaddr offset, std::string_view name, bool sets) {
        registers_.add({.offset = offset, .size = 4, .name = name,
                        .on_read = [this](std::uint64_t) { return std::uint64_t{interrupt_mask_}; },
                        .write_value = [this, sets](std::uint64_t, std::uint64_t value) {
                            const auto bits = static_cast<std::uint32_t>(value);
                            interrupt_mask_ = sets ? interrupt_mask_ | bits : interrupt_mask_ & ~bits;
                            update_intx();
                            return std::uint64_t{0};
                        }});
    };
    mask_register(0x0c, "INTMS", true);
    mask_register(0x10, "INTMC", false);
    registers_.add({.offset = 0x14, .size = 4, .name = "CC",
                    .on_read = [this](std::uint64_t) { return std::uint64_t{configuration_}; },
                    .write_value = [this](std::uint64_t, std::uint64_t value) {
                        const std::uint32_t old = configuration_;
                        const std::uint32_t held = (old & kCcEnable) || disabling_ ? kCcHeldWhenEnabled : 0;
                        configuration_ = (static_cast<std::uint32_t>(value) & kCcWritable & ~held) | (old & held);
                        write_controller_configuration(old, configuration_);
                        return std::uint64_t{configuration_};
                    }});
    registers_.add({.offset = 0x1c, .size = 4, .name = "CSTS", .write_mask = 0,
                    .on_read = [this](std::uint64_t) { return std::uint64_t{status_}; }});
    const auto setting = [this](core::hwaddr offset, unsigned size, std::string_view name, auto &field, std::uint64_t mask) {
        registers_.add({.offset = offset, .size = size, .name = name,
                        .on_read = [&field](std::uint64_t) { return std::uint64_t{field}; },
                        .write_value = [this, &field, mask](std::uint64_t, std::uint64_t value) {
                            if (!(configuration_ & kCcEnable))
                                field = static_cast<std::remove_reference_t<decltype(field)>>(value & mask);
                            return std::uint64_t{field};
                        }});
    };
    setting(0x24, 4, "AQA", admin_sizes_, 0x0fff0fff);
    setting(0x28, 8, "ASQ", admin_sq_, ~0xfffull);
    setting(0x30, 8, "ACQ", admin_cq_, ~0xfffull);
    registers_.add(plain(0x38, 4, "CMBLOC", 0));
    registers_.add(plain(0x3c, 4, "CMBSZ", 0));
}

void NvmeController::write_controller_configuration(std::uint32_t old, std::uint32_t now) {
    const bool was_enabled = old & kCcEnable, enabled = now & kCcEnable;
    if (enabled && !was_enabled && !disabling_)
        enable();
    else if (!enabled && was_enabled)
        disable();
    if (cc_shutdown(now) != 0 && cc_shutdown(old) == 0)
        shut_down();
    else if (cc_shutdown(now) == 0 && cc_shutdown(old) != 0)
        status_ &= ~kCstsShutdownMask;
}

void NvmeController::enable() {
    const std::uint32_t submission_size = (admin_sizes_ & 0xfff) + 1, completion_size = (admin_sizes_ >> 16 & 0xfff) + 1;
    const std::uint64_t page_mask = page_size() - 1;
    if (cc_page_shift(configuration_) > kMaxPageShift || cc_command_set(configuration_) != 0)
        return fatal("CC asks for pages or a command set that are not there");
    if (submission_size < 2 || completion_size < 2 || !admin_sq_ || !admin_cq_ || (admin_sq_ & page_mask) || (admin_cq_ & page_mask))
        return fatal("AQA, ASQ or ACQ describe no queue");
    auto submission = std::make_unique<SubmissionQueue>();
    submission->size = submission_size;
    submission->base = admin_sq_;
    submission_[0] = std::move(submission);
    auto completion = std::make_unique<CompletionQueue>();
    completion->size = completion_size;
    completion->base = admin_cq_;
    completion->interrupts = true;
    completion_[0] = std::move(completion);
    status_ = kCstsReady;
}

/// Ready goes away when nothing is under way any more, which is what the host waits for (7.6.2).
void NvmeController::disable() {
    disabling_ = true;
    stopped_.clear();
    if (io_->idle())
        disabled();
}

void NvmeController::disabled() {
    disabling_ = false;
    shutting_down_ = false;
    for (auto &queue : submission_)
        queue.reset();
    for (auto &queue : completion_)
        queue.reset();
    event_commands_.clear();
    events_.clear();
    masked_events_ = 0;
    reset_features();
    status_ &= ~(kCstsReady | kCstsFatal | kCstsShutdownMask);
    update_intx();
    if (configuration_ & kCcEnable) // it was set again meanwhile
        enable();
}

/// Writes the disk's cache out (7.6.2).
void NvmeController::shut_down() {
    status_ = (status_ & ~kCstsShutdownMask) | kCstsShutdownOccurring;
    if (shutting_down_)
        return;
    shutting_down_ = true;
    io_->start([this] { return io_->disk().flush(); },
               [this](const block::Result<void> &) {
                   if (shutting_down_ && cc_shutdown(configuration_) != 0)
                       status_ = (status_ & ~kCstsShutdownMask) | kCstsShutdownComplete;
                   shutting_down_ = false;
                   if (disabling_ && io_->idle())
                       disabled();
               });
}

void NvmeController::fatal(std::string_view why) {
    util::log_write(util::kLogGuestErrors, "nvme: {}; controller fatal status\n", why);
    status_ |= kCstsFatal;
}

// ---- doorbells ------------------------------------------------------------------------------------------------------

std::uint64_t NvmeController::io_read(core::hwaddr, unsigned) { return 0; }

void NvmeController::io_write(core::hwaddr offset, std::uint64_t value, unsigned) {
    if (!ready())
        return;
    const auto number = static_cast<std::uint16_t>(offset / 4);
    if (number % 2 == 0)
        ring_submission(number / 2, static_cast<std::uint32_t>(value));
    else
        ring_completion(number / 2, static_cast<std::uint32_t>(value));
}

void NvmeController::ring_submission(std::uint16_t id, std::uint32_t tail) {
    SubmissionQueue *const queue = id < submission_.size() ? submission_[id].get() : nullptr;
    if (!queue || tail >= queue->size) {
        util::log_write(util::kLogGuestErrors, "nvme: doorbell of submission queue {}: {}\n", id, queue ? "the tail is outside" : "no such queue");
        report_event({kAsyncErrorEvent, queue ? kInvalidDoorbellValue : kInvalidDoorbellRegister, kErrorLog});
        return;
    }
    queue->tail = tail;
    fetch(*queue);
}

void NvmeController::ring_completion(std::uint16_t id, std::uint32_t head) {
    CompletionQueue *const queue = id < completion_.size() ? completion_[id].get() : nullptr;
    // The head moves over entries that were written, not past the tail.
    const bool valid = queue && head < queue->size &&
                       (head + queue->size - queue->head) % queue->size <= (queue->tail + queue->size - queue->head) % queue->size;
    if (!valid) {
        util::log_write(util::kLogGuestErrors, "nvme: doorbell of completion queue {}: {}\n", id, queue ? "the head is outside" : "no such queue");
        report_event({kAsyncErrorEvent, queue ? kInvalidDoorbellValue : kInvalidDoorbellRegister, kErrorLog});
        return;
    }
    queue->head = head;
    deliver(*queue);
}

} // namespace rhea::hw::nvme
