// Commands about the run: quit, stop, cont, reset, ...
#include "commands.h"

namespace rhea::monitor {
namespace {

using util::Result;

Result<Value> quit(Host& host, const Arguments&) {
    host.quit();
    return Value();
}
Result<Value> stop(Host& host, const Arguments&) {
    host.stop();
    return Value();
}
Result<Value> cont(Host& host, const Arguments&) {
    if (auto done = host.cont(); !done) {
        return util::fail(done.error());
    }
    return Value();
}
Result<Value> reset(Host& host, const Arguments&) {
    host.reset();
    return Value();
}
Result<Value> powerdown(Host& host, const Arguments&) {
    host.power_button();
    return Value();
}
Result<Value> nmi(Host& host, const Arguments&) {
    host.nmi();
    return Value();
}
Result<Value> device_add(Host& host, const Arguments& arguments) {
    auto text = host.add_device(arguments.text("device"));
    return text ? Result<Value>(Value(*text)) : util::fail(text.error());
}
Result<Value> device_del(Host& host, const Arguments& arguments) {
    if (auto done = host.remove_device(arguments.text("id")); !done) {
        return util::fail(done.error());
    }
    return Value();
}
Result<Value> help(Host&, const Arguments& arguments) {
    return Value(help_text(arguments.text("name")));
}
Result<Value> ringbuf_read(Host& host, const Arguments& arguments) {
    const std::int64_t size = arguments.integer("size");
    if (size < 0) {
        return util::fail("size must be 0 or more, not {}", size);
    }
    auto text = host.ringbuf_read(arguments.text("device"), static_cast<std::size_t>(size));
    if (!text) {
        return util::fail(text.error());
    }
    return Value(*text + "\n");
}
Result<Value> ringbuf_write(Host& host, const Arguments& arguments) {
    if (auto done = host.ringbuf_write(arguments.text("device"), arguments.text("data")); !done) {
        return util::fail(done.error());
    }
    return Value();
}

}  // namespace

std::vector<Command> run_commands() {
    return {
        {"help|?", "", {{"name", ArgumentType::kRest, true}}, "[cmd]", "list the commands, or explain one", help,
         nullptr},
        {"quit|q", "quit", {}, "", "end Rhea at once", quit, nullptr},
        {"stop|s", "stop", {}, "", "hold the guest", stop, nullptr},
        {"cont|c", "cont", {}, "", "let the guest run on", cont, nullptr},
        {"system_reset", "system_reset", {}, "", "reset the machine, as its button does", reset, nullptr},
        {"system_powerdown", "system_powerdown", {}, "", "press the power button, on which the guest may act", powerdown,
         nullptr},
        {"nmi", "inject-nmi", {}, "", "a non-maskable interrupt for all CPUs", nmi, nullptr},
        {"device_add", "", {{"device", ArgumentType::kRest}}, "driver[,prop=value][,...]", "plug a device in; its options are those of -device",
         device_add, nullptr},
        {"device_del", "", {{"id", ArgumentType::kString}}, "device", "ask the guest to let a device go", device_del, nullptr},
        {"ringbuf_read",
         "ringbuf-read",
         {{"device", ArgumentType::kString}, {"size", ArgumentType::kInteger}},
         "device size",
         "take bytes out of a chardev of type ringbuf",
         ringbuf_read,
         nullptr},
        {"ringbuf_write",
         "ringbuf-write",
         {{"device", ArgumentType::kString}, {"data", ArgumentType::kRest}},
         "device data",
         "put bytes into a chardev of type ringbuf",
         ringbuf_write,
         nullptr},
    };
}

}  // namespace rhea::monitor
