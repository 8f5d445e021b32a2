#include "rhea/util/error.h"

#include <fmt/format.h>

namespace rhea::util {

Error Error::within(std::string_view context) const {
    return Error(fmt::format("{}: {}", context, message_)).with_code(code_);
}

std::string Error::formatted(fmt::string_view format, fmt::format_args args) {
    return fmt::vformat(format, args);
}

}  // namespace rhea::util
