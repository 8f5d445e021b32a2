// For tests that run a VM: why they cannot run here.
#pragma once
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace rhea::accel {

/// Null: /dev/kvm opens. Else the reason to skip.
inline const char *no_kvm() {
    static const std::string reason = [] {
        const int fd = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return std::string("/dev/kvm cannot be opened: ") + std::strerror(errno);
        ::close(fd);
        return std::string{};
    }();
    return reason.empty() ? nullptr : reason.c_str();
}

} // namespace rhea::accel
