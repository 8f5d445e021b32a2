#include "accel/tcg/perf_map.h"

#include "rhea/util/log.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace rhea::accel {

PerfMap::PerfMap() {
    const std::string path = fmt::format("/tmp/perf-{}.map", ::getpid());
    // Not through a link that somebody else left in /tmp.
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd >= 0)
        file_.reset(::fdopen(fd, "w"));
    if (!file_)
        util::log_write(util::kLogPerf, "-d perf: could not write '{}': {}\n", path, std::strerror(errno));
}

void PerfMap::add(const void *code, std::size_t size, std::string_view name) {
    if (!file_)
        return;
    fmt::print(file_.get(), "{:x} {:x} {}\n", reinterpret_cast<std::uintptr_t>(code), size, name);
    std::fflush(file_.get());
}

void PerfMap::add_block(const void *code, std::size_t size, std::uint64_t pc, std::uint32_t mode) {
    add(code, size, fmt::format("guest_{:x}_mode_{:x}", pc, mode));
}

} // namespace rhea::accel
