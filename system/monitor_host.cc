#include "monitor_host.h"

#include "device_help.h"
#include "rhea/chardev/ringbuf.h"
#include "rhea/core/machine_lock.h"
#include "rhea/util/option_list.h"
#include "tables.h"
#include "version.h"

namespace rhea::system {
namespace {

util::Result<chardev::RingBuffer*> find_ringbuf(chardev::ChardevSet& chardevs,
                                                const std::string& id) {
    chardev::Chardev* found = chardevs.find(id);
    auto* ring = dynamic_cast<chardev::RingBuffer*>(found);
    if (!ring) {
        return found ? util::fail("chardev '{}' keeps no bytes; one of type ringbuf does", id)
                     : util::fail("there is no chardev '{}'; info chardev lists them", id);
    }
    return ring;
}

}  // namespace

MonitorHost::Status MonitorHost::status() const {
    return {run_state_name(vm_.state()), run_state_text(vm_.state()), vm_.running()};
}

void MonitorHost::stop() {
    if (vm_.running()) {
        vm_.stop();
    }
}

void MonitorHost::quit() {
    vm_.request_shutdown(core::ShutdownCause::kHostQuit);
}

void MonitorHost::reset() {
    vm_.request_reset(core::ShutdownCause::kHostQuit);
}

std::vector<MonitorHost::CpuThread> MonitorHost::cpu_threads() {
    return vm_.cpu_threads();
}

std::vector<MonitorHost::CharDevice> MonitorHost::char_devices() {
    const core::MachineLockGuard lock;
    std::vector<CharDevice> devices;
    for (const chardev::Chardev* device : chardevs_.all()) {
        devices.push_back({device->id(), device->describe()});
    }
    return devices;
}

util::Result<std::string> MonitorHost::ringbuf_read(const std::string& id, std::size_t size) {
    const core::MachineLockGuard lock;
    auto ring = find_ringbuf(chardevs_, id);
    if (!ring) {
        return util::fail(ring.error());
    }
    return (*ring)->take(size);
}

util::Result<void> MonitorHost::ringbuf_write(const std::string& id, const std::string& data) {
    const core::MachineLockGuard lock;
    auto ring = find_ringbuf(chardevs_, id);
    if (!ring) {
        return util::fail(ring.error());
    }
    if ((*ring)->inject(data) < data.size()) {
        return util::fail("the guest did not take all of it");
    }
    return {};
}

util::Result<std::string> MonitorHost::add_device(const std::string& text) {
    util::OptionList options = util::OptionList::parse(text, "driver");
    core::DeviceOption option{options.take("driver").value_or(""), {}};
    if (option.driver.empty() && options.wants_help()) {
        return device_list_help();
    }
    const auto type = find_device(option.driver);
    if (!type) {
        return util::fail(type.error());
    }
    if (options.wants_help()) {
        return device_properties_help(**type);
    }
    option.properties = options.take_rest();
    util::Result<void> done;
    vm_.with_parked_vcpus([&] { done = vm_.machine().hot_plug(option); });
    return done ? util::Result<std::string>(std::string()) : util::fail(done.error());
}

util::Result<void> MonitorHost::remove_device(const std::string& id) {
    util::Result<void> done;
    vm_.with_parked_vcpus([&] { done = vm_.machine().hot_unplug(id); });
    return done;
}

std::string MonitorHost::version() const {
    return RHEA_VERSION;
}

}  // namespace rhea::system
