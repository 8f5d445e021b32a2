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
    {"out_asm", kLogOutAsm, "each TB's host code, when it is compiled"},
    {"in_asm", kLogInAsm, "each TB's guest code, when it is compiled"},
    {"op", kLogOp, "each TB's intermediate operations, before they are optimized"},
    {"op_opt", kLogOpOpt, "the same, after they are optimized"},
    {"int", kLogInt, "a line for each interrupt and exception"},
    {"exec", kLogExec, "a line for each TB that is entered (a great many)"},
    {"cpu", kLogCpu, "the registers with which each TB is entered (a great many lines)"},
    {"guest_errors", kLogGuestErrors,
     "what the guest does that its hardware forbids, such as a write to a register that is not there"},
    {"unimp", kLogUnimp, "what the guest asks of Rhea that Rhea does not have"},
    {"nochain", kLogNoChain,
     "no jumps from TB to TB, so that \"exec\" and \"cpu\" miss none"},
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
