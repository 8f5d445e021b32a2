// The info commands: what the machine, its CPUs and the emulator are doing.
#include <fmt/format.h>

#include "commands.h"
#include "rhea/core/archive.h"
#include "rhea/core/machine_lock.h"

namespace rhea::monitor {
namespace {

using util::Result;

Result<Value> version(Host& host, const Arguments&) {
    return Value(Value::Object{{"package", host.version()}});
}
std::string print_version(const Value& result) {
    return result["package"].as_string() + "\n";
}

Result<Value> status(Host& host, const Arguments&) {
    const Host::Status now = host.status();
    return Value(Value::Object{
        {"running", now.running}, {"status", now.name}, {"description", now.text}});
}
std::string print_status(const Value& result) {
    return fmt::format("VM status: {}\n", result["description"].as_string());
}

Result<Value> name(Host& host, const Arguments&) {
    const std::string& name = host.machine().config().name;
    return Value(name.empty() ? Value::Object{} : Value::Object{{"name", name}});
}
std::string print_name(const Value& result) {
    return result["name"].is_null() ? "" : result["name"].as_string() + "\n";
}

Result<Value> cpus(Host& host, const Arguments&) {
    Value::List list;
    for (const Host::CpuThread& thread : host.cpu_threads()) {
        list.push_back(Value::Object{{"cpu-index", static_cast<std::int64_t>(list.size())},
                                     {"thread-id", thread.thread_id},
                                     {"halted", thread.halted}});
    }
    return Value(std::move(list));
}
std::string print_cpus(const Host& host, const Value& result) {
    std::string text;
    for (const Value& cpu : result.as_list()) {
        const std::int64_t index = cpu["cpu-index"].as_integer();
        text += fmt::format("{} CPU #{}: thread_id={}{}\n", index == host.current_cpu ? "*" : " ", index,
                            cpu["thread-id"].as_integer(),
                            cpu["halted"].as_bool() ? " (halted)" : "");
    }
    return text;
}

Result<Value> choose_cpu(Host& host, const Arguments& arguments) {
    const std::int64_t index = arguments.integer("index");
    if (index < 0 || static_cast<std::size_t>(index) >= host.machine().vcpus().size()) {
        return util::fail("there is no CPU {}; info cpus lists them", index);
    }
    host.current_cpu = static_cast<unsigned>(index);
    return Value(std::string());
}

Result<Value> registers(Host& host, const Arguments& arguments) {
    const auto& vcpus = host.machine().vcpus();
    std::string text;
    host.with_parked_vcpus([&] {
        for (const auto& vcpu : vcpus) {
            if (arguments.flag("cpustate_all")) {
                text += fmt::format("\nCPU#{}\n", vcpu->index());
            } else if (vcpu->index() != host.current_cpu) {
                continue;
            }
            text += vcpu->describe_registers();
        }
    });
    if (vcpus.empty()) {
        return util::fail("the machine has no CPU");
    }
    if (!text.ends_with('\n')) {
        text += '\n';
    }
    return Value(std::move(text));
}

Result<Value> mtree(Host& host, const Arguments& arguments) {
    const bool flat = arguments.flag("flatview");
    const core::MachineLockGuard lock;
    return Value(host.machine().memory().describe(flat) + "\n" +
                 host.machine().io().describe(flat));
}

Result<Value> kvm(Host& host, const Arguments&) {
    const bool enabled = host.accelerator().name() == "kvm";
    return Value(Value::Object{{"enabled", enabled},
                               {"present", true},
                               {"counters", enabled ? host.accelerator().describe("kvm") : ""}});
}
std::string print_kvm(const Value& result) {
    const std::string& counters = result["counters"].as_string();
    return counters.empty() ? "kvm support: disabled\n" : counters;
}

Result<Value> jit(Host& host, const Arguments&) {
    if (host.accelerator().name() != "tcg") {
        return util::fail("there is a JIT with accel=tcg only, not with {}", host.accelerator().name());
    }
    std::string text;
    host.with_parked_vcpus([&] { text = host.accelerator().describe("jit"); });
    return Value(std::move(text));
}

Result<Value> chardev(Host& host, const Arguments&) {
    Value::List list;
    for (const Host::CharDevice& device : host.char_devices()) {
        list.push_back(Value::Object{{"label", device.id}, {"filename", device.filename}});
    }
    return Value(std::move(list));
}
std::string print_chardev(const Value& result) {
    std::string text;
    for (const Value& device : result.as_list()) {
        text += fmt::format("{}: filename={}\n", device["label"].as_string(),
                            device["filename"].as_string());
    }
    return text;
}

Result<Value> qtree(Host& host, const Arguments&) {
    const core::MachineLockGuard lock;
    Value::List list;
    for (const auto& device : host.machine().devices()) {
        Value::Object properties;
        for (const core::Property& property : device->properties().all()) {
            properties.push_back({property.name, property.get()});
        }
        list.push_back(Value::Object{{"path", device->path()},
                                     {"type", device->type()},
                                     {"properties", std::move(properties)}});
    }
    return Value(std::move(list));
}
std::string print_qtree(const Value& result) {
    std::string text;
    for (const Value& device : result.as_list()) {
        text += fmt::format("dev: {}, id \"{}\"\n", device["type"].as_string(),
                            device["path"].as_string());
        for (const Value::Member& property : device["properties"].as_object()) {
            text += fmt::format("  {} = {}\n", property.name, property.value.as_string());
        }
    }
    return text;
}

/// The state of the interrupt controllers, each field by its name.
Result<Value> pic(Host& host, const Arguments&) {
    std::string text;
    host.with_parked_vcpus([&] {
        const auto printer = core::make_printer(text);
        for (const auto& device : host.machine().devices()) {
            if (device->type().find("pic") != std::string_view::npos) {
                printer->section(device->path(), device->serialize_version(),
                                 [&](core::Archive& section) { device->serialize(section); });
            }
        }
    });
    if (text.empty()) {
        return util::fail("the accelerator keeps the interrupt controllers to itself");
    }
    return Value(std::move(text));
}

}  // namespace

std::vector<Command> info_commands() {
    return {
        {"info version", "query-version", {}, "", "Rhea's version", version,
         print_version},
        {"info status", "query-status", {}, "", "whether the guest runs, or why it does not",
         status, print_status},
        {"info name", "query-name", {}, "", "the guest's name, of -name", name, print_name},
        {"info cpus", "query-cpus-fast", {}, "", "the CPUs and their host threads", cpus, nullptr, print_cpus},
        {"cpu", "", {{"index", ArgumentType::kInteger}}, "index", "choose the CPU that info registers and x look at", choose_cpu, nullptr},
        {"info registers",
         "",
         {{"cpustate_all", ArgumentType::kFlag, true, "a"}},
         "[-a]",
         "registers of the chosen CPU (-a: of all)",
         registers,
         nullptr},
        {"info mtree",
         "",
         {{"flatview", ArgumentType::kFlag, true, "f"}},
         "[-f]",
         "regions of the address spaces (-f: as they overlap)",
         mtree,
         nullptr},
        {"info kvm", "query-kvm", {}, "", "whether KVM is used, and its exits by reason", kvm, print_kvm},
        {"info jit", "", {}, "", "what the JIT has compiled, and how full its buffer is", jit, nullptr},
        {"info chardev", "query-chardev", {}, "", "character devices and where they lead", chardev,
         print_chardev},
        {"info qtree", "", {}, "", "devices and buses, with properties", qtree, print_qtree},
        {"info pic", "", {}, "", "state of the interrupt controllers", pic, nullptr},
    };
}

}  // namespace rhea::monitor
