#include "rhea/util/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "rhea/util/nearest_name.h"

namespace rhea::util {
namespace {

constexpr auto kItems = std::to_array<LogItem>({
    {"out_asm", kLogOutAsm, "show generated host assembly code for each compiled TB"},
    {"in_asm", kLogInAsm, "show target assembly code for each compiled TB"},
    {"op", kLogOp, "show micro ops for each compiled TB"},
    {"op_opt", kLogOpOpt, "show micro ops after optimization"},
    {"int", kLogInt, "show interrupts/exceptions in short format"},
    {"exec", kLogExec, "show trace before each executed TB (lots of logs)"},
    {"cpu", kLogCpu, "show CPU registers before entering a TB (lots of logs)"},
    {"guest_errors", kLogGuestErrors,
     "log when the guest OS does something invalid (eg accessing a non-existent register)"},
    {"unimp", kLogUnimp, "log unimplemented functionality"},
    {"nochain", kLogNoChain,
     "do not chain compiled TBs so that \"exec\" and \"cpu\" show complete traces"},
    {"perf", kLogPerf, "write /tmp/perf-PID.map, by which perf(1) names generated code"},
});

/// Where the log goes. `file` is null for standard error.
struct Sink {
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };

    std::mutex mutex;
    std::unique_ptr<std::FILE, Close> file;
};

/// Never destroyed: threads may log until the process is gone.
Sink& sink() {
    static auto& the_sink = *new Sink;
    return the_sink;
}

Result<LogMask> parse_item(std::string_view name) {
    if (name == "all") {
        LogMask all = 0;
        for (const LogItem& item : kItems) {
            all |= item.mask;
        }
        return all;
    }
    std::vector<std::string_view> names{"all"};
    for (const LogItem& item : kItems) {
        if (item.name == name) {
            return item.mask;
        }
        names.push_back(item.name);
    }
    if (const auto nearest = nearest_name(name, names)) {
        return fail("unknown log item '{}'; did you mean '{}'?", name, *nearest);
    }
    return fail("unknown log item '{}'; '-d help' lists the items", name);
}

}  // namespace

namespace detail {

std::atomic<LogMask> log_mask{0};

void log_vwrite(fmt::string_view format, fmt::format_args args) {
    fmt::memory_buffer text;
    fmt::vformat_to(fmt::appender(text), format, args);
    Sink& to = sink();
    const std::lock_guard lock(to.mutex);
    std::FILE* file = to.file ? to.file.get() : stderr;
    std::fwrite(text.data(), 1, text.size(), file);
    std::fflush(file);
}

}  // namespace detail

std::span<const LogItem> log_items() {
    return kItems;
}

Result<LogMask> parse_log_items(std::string_view list) {
    LogMask mask = 0;
    for (;;) {
        const std::size_t comma = list.find(',');
        const Result<LogMask> item = parse_item(list.substr(0, comma));
        if (!item) {
            return item;
        }
        mask |= *item;
        if (comma == std::string_view::npos) {
            return mask;
        }
        list.remove_prefix(comma + 1);
    }
}

LogMask log_mask() {
    return detail::log_mask.load(std::memory_order_relaxed);
}

void set_log_mask(LogMask mask) {
    detail::log_mask.store(mask, std::memory_order_relaxed);
}

Result<void> set_log_file(const std::string& path) {
    std::unique_ptr<std::FILE, Sink::Close> file;
    if (!path.empty()) {
        std::string name = path;
        if (const std::size_t at = name.find("%d"); at != std::string::npos) {
            name.replace(at, 2, std::to_string(::getpid()));
        }
        file.reset(std::fopen(name.c_str(), "we"));
        if (!file) {
            return fail("cannot open log file {}: {}", name, std::strerror(errno));
        }
    }
    Sink& to = sink();
    const std::lock_guard lock(to.mutex);
    to.file.swap(file);
    return {};
}

}  // namespace rhea::util
