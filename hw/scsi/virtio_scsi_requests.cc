// The queues of virtio-scsi: VIRTIO 1.2, section 5.6.6. In the data path's thread.
#include <algorithm>
#include <cstring>

#include "hw/scsi/virtio_scsi.h"

namespace rhea::hw {
namespace {

using scsi::ScsiCommand;
using scsi::ScsiResult;
using virtio::Element;

/// In front of the CDB, and of the sense data.
struct [[gnu::packed]] CommandHeader {
    std::uint8_t lun[8];
    std::uint64_t tag;
    std::uint8_t task_attribute, priority, crn;
};
struct [[gnu::packed]] ResponseHeader {
    std::uint32_t sense_length, residual;
    std::uint16_t status_qualifier;
    std::uint8_t status, response;
};
static_assert(sizeof(CommandHeader) == 19 && sizeof(ResponseHeader) == 12);

struct [[gnu::packed]] TaskManagement {
    std::uint32_t type, subtype;
    std::uint8_t lun[8];
    std::uint64_t tag;
};
struct [[gnu::packed]] AsyncResponse {
    std::uint32_t event;
    std::uint8_t response;
};
struct EventRecord {
    std::uint32_t event;
    std::uint8_t lun[8];
    std::uint32_t reason;
};

enum : std::uint8_t {
    kResponseOk = 0, kResponseOverrun = 1, kResponseAborted = 2, kResponseBadTarget = 3, kResponseReset = 4, kResponseFailure = 9,
    kFunctionSucceeded = 10, kFunctionRejected = 11, kIncorrectLun = 12,
};
enum : std::uint32_t { kTypeTaskManagement = 0, kTypeAsyncQuery = 1, kTypeAsyncSubscribe = 2 };
enum : std::uint32_t {
    kAbortTask = 0, kAbortTaskSet = 1, kClearAca = 2, kClearTaskSet = 3, kNexusReset = 4, kUnitReset = 5, kQueryTask = 6, kQueryTaskSet = 7,
};
constexpr std::uint32_t kEventsMissed = 0x80000000;

} // namespace

VirtioScsi::Address VirtioScsi::parse_lun(std::span<const std::uint8_t, 8> bytes) {
    const unsigned lun = static_cast<unsigned>(bytes[2] << 8 | bytes[3]);
    const unsigned method = lun >> 14;
    const bool rest = std::ranges::any_of(bytes.subspan(4), [](std::uint8_t byte) { return byte != 0; });
    return {.target = bytes[1], .lun = method == 1 ? lun & 0x3fff : lun, .valid = bytes[0] == 1 && method < 2 && !rest};
}

void VirtioScsi::handle(unsigned queue, Element *element) {
    data_path().request_begins();
    context().spawn(queue == kControlQueue ? run_control(queue, element) : run_command(queue, element));
}

void VirtioScsi::finish(unsigned queue, Element *element, std::uint32_t written) {
    complete(queue, element, written);
    data_path().request_ends();
}

block::Task<void> VirtioScsi::run_command(unsigned queue, Element *element) {
    const std::size_t request_size = sizeof(CommandHeader) + cdb_size_, response_size = sizeof(ResponseHeader) + sense_size_;
    if (element->out.size() < request_size || element->in.size() < response_size) {
        broken(queue, "a command has no room for its header or its response");
        ring(queue).detach(element);
        data_path().request_ends();
        co_return;
    }
    CommandHeader header;
    element->out.read(0, &header, sizeof header);
    const Address address = parse_lun(header.lun);
    ScsiCommand command;
    element->out.read(sizeof header, command.cdb.data(), std::min<std::size_t>(cdb_size_, command.cdb.size()));
    command.out = element->out.vector(request_size, element->out.size() - request_size);
    command.in = element->in.vector(response_size, element->in.size() - response_size);

    ResponseHeader response{};
    ScsiResult result;
    const std::uint64_t expected = std::max(command.out.size(), command.in.size());
    scsi::ScsiDevice *device = address.valid ? bus_->find(0, address.target, address.lun) : nullptr;
    if (!command.out.empty() && !command.in.empty()) {
        response.response = kResponseFailure; // both directions at once: INOUT is not offered
    } else if (device && device->unit()) {
        const auto active = active_.insert(active_.end(), {header.tag, device});
        result = co_await device->unit()->execute(command);
        const std::uint8_t aborted = active->aborted;
        active_.erase(active);
        active_changed_.wake_all();
        if (aborted)
            response.response = aborted;
        else if (result.keep) {
            keep(queue, element);
            data_path().request_ends();
            co_return;
        }
    } else if (address.valid && bus_->has_target(0, address.target)) {
        result = scsi::missing_lun(command, bus_->luns(0, address.target));
    } else {
        response.response = kResponseBadTarget;
    }
    if (response.response == kResponseOk) {
        response.status = result.status;
        response.residual = static_cast<std::uint32_t>(expected - std::min(expected, result.transferred));
        if (!command.in.empty())
            element->in.mark_written(response_size, result.transferred);
        if (result.status == scsi::kCheckCondition) {
            const auto bytes = scsi::fixed_sense(result.sense);
            response.sense_length = static_cast<std::uint32_t>(std::min<std::size_t>(bytes.size(), sense_size_));
            element->in.write(sizeof response, bytes.data(), response.sense_length);
        }
    }
    element->in.write(0, &response, sizeof response);
    finish(queue, element, static_cast<std::uint32_t>(response_size + (command.in.empty() ? 0 : result.transferred)));
}

// ---- task management -----------------------------------------------------------------------------------------------

block::Task<void> VirtioScsi::run_control(unsigned queue, Element *element) {
    std::uint32_t type = ~std::uint32_t{0};
    element->out.read(0, &type, sizeof type);
    if (type == kTypeTaskManagement && element->out.size() >= sizeof(TaskManagement) && element->in.size() >= 1) {
        TaskManagement request;
        element->out.read(0, &request, sizeof request);
        const std::uint8_t response = co_await manage_tasks(request.subtype, request.lun, request.tag);
        element->in.write(0, &response, 1);
        finish(queue, element, 1);
    } else if ((type == kTypeAsyncQuery || type == kTypeAsyncSubscribe) && element->in.size() >= sizeof(AsyncResponse)) {
        const AsyncResponse response{0, kResponseOk}; // there are no asynchronous events of a unit
        element->in.write(0, &response, sizeof response);
        finish(queue, element, sizeof response);
    } else {
        broken(queue, "a control request that makes no sense");
        ring(queue).detach(element);
        data_path().request_ends();
    }
}

/// The commands that `chosen` names are answered with `response`; returns when the last of them is.
block::Task<void> VirtioScsi::abort(std::function<bool(const Active &)> chosen, std::uint8_t response) {
    for (Active &each : active_)
        if (chosen(each) && !each.aborted)
            each.aborted = response;
    while (std::ranges::any_of(active_, chosen))
        co_await active_changed_.wait();
}

block::Task<std::uint8_t> VirtioScsi::manage_tasks(std::uint32_t function, std::span<const std::uint8_t, 8> lun, std::uint64_t tag) {
    const Address address = parse_lun(lun);
    if (!address.valid || !bus_->has_target(0, address.target))
        co_return kResponseBadTarget;
    scsi::ScsiDevice *device = bus_->find(0, address.target, address.lun);
    if (!device && function != kNexusReset)
        co_return kIncorrectLun;
    const auto of_device = [device](const Active &each) { return each.device == device; };
    const auto of_task = [device, tag](const Active &each) { return each.device == device && each.tag == tag; };
    const auto of_target = [target = address.target](const Active &each) { return each.device->target() == target; };
    switch (function) {
    case kAbortTask:
        co_await abort(of_task, kResponseAborted);
        co_return kResponseOk;
    case kAbortTaskSet:
    case kClearTaskSet:
        co_await abort(of_device, kResponseAborted);
        co_return kResponseOk;
    case kUnitReset:
        co_await abort(of_device, kResponseReset);
        device->unit()->reset(scsi::sense::kDeviceReset);
        co_return kResponseOk;
    case kNexusReset:
        co_await abort(of_target, kResponseReset);
        for (const scsi::ScsiDevice *each : bus_->devices())
            if (each->target() == address.target && each->unit())
                each->unit()->reset(scsi::sense::kDeviceReset);
        co_return kResponseOk;
    case kQueryTask:
        co_return std::ranges::any_of(active_, of_task) ? kFunctionSucceeded : kResponseOk;
    case kQueryTaskSet:
        co_return std::ranges::any_of(active_, of_device) ? kFunctionSucceeded : kResponseOk;
    default:
        co_return kFunctionRejected;
    }
}

// ---- events --------------------------------------------------------------------------------------------------------

void VirtioScsi::queue_notified(unsigned index) {
    if (index == kEventQueue)
        deliver_events();
    else
        VirtioDevice::queue_notified(index);
}

/// The driver has put buffers there for events to come.
void VirtioScsi::deliver_events() {
    const std::lock_guard lock(event_mutex_);
    while (!events_.empty() || events_missed_) {
        Element *element = ring(kEventQueue).pop();
        if (!element)
            break;
        const Event event = events_.empty() ? Event{} : events_.front();
        EventRecord record{};
        if (event.event != 0) {
            record.event = event.event;
            record.reason = event.reason;
            record.lun[0] = 1;
            record.lun[1] = static_cast<std::uint8_t>(event.target);
            record.lun[2] = static_cast<std::uint8_t>(event.lun >> 8 | (event.lun >= 256 ? 0x40 : 0));
            record.lun[3] = static_cast<std::uint8_t>(event.lun);
        }
        if (std::exchange(events_missed_, false))
            record.event |= kEventsMissed;
        if (!events_.empty())
            events_.pop_front();
        element->in.write(0, &record, sizeof record);
        complete(kEventQueue, element, static_cast<std::uint32_t>(std::min(element->in.size(), sizeof record)));
    }
    if (!events_.empty()) {
        events_.clear();
        events_missed_ = true;
    }
    if (!ring(kEventQueue).broken().empty())
        broken(kEventQueue, ring(kEventQueue).broken());
    else
        ring(kEventQueue).enable_notification();
}

} // namespace rhea::hw
