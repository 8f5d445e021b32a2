#include "block/filename.h"

#include <cerrno>

#include "rhea/util/nearest_name.h"

namespace rhea::block {

std::string_view scheme_of(std::string_view filename) {
    const std::size_t colon = filename.find_first_of(":/");
    if (colon == std::string_view::npos || filename[colon] != ':')
        return {};
    return filename.substr(0, colon);
}

Result<const BlockDriver *> protocol_of(std::string_view filename) {
    const std::string_view scheme = scheme_of(filename);
    if (scheme.empty())
        return find_driver("file");
    std::vector<std::string_view> schemes;
    for (const BlockDriver *driver : block_drivers())
        for (const std::string_view each : driver->schemes) {
            if (each == scheme)
                return driver;
            schemes.push_back(each);
        }
    const auto nearest = util::nearest_name(scheme, schemes);
    return util::fail(util::Error("unknown protocol '{}' in '{}'{}; write ./{} for a file of that name", scheme, filename,
                                  nearest ? fmt::format(" (did you mean '{}'?)", *nearest) : "", filename)
                          .with_code(EINVAL));
}

std::string resolve_backing(std::string_view image, std::string_view backing) {
    if (backing.empty() || backing.front() == '/' || !scheme_of(backing).empty())
        return std::string(backing);
    // A name inside json:{…} has no folder of its own.
    if (image.starts_with("json:"))
        return std::string(backing);
    std::size_t begin = 0;
    if (const std::string_view scheme = scheme_of(image); !scheme.empty()) {
        begin = scheme.size() + 1;
        if (image.substr(begin).starts_with("//")) {
            const std::size_t path = image.find('/', begin + 2);
            begin = path == std::string_view::npos ? image.size() : path;
        }
    }
    const std::size_t slash = image.rfind('/');
    if (slash == std::string_view::npos || slash < begin)
        return std::string(image.substr(0, begin)) + std::string(backing);
    return std::string(image.substr(0, slash + 1)) + std::string(backing);
}

} // namespace rhea::block
