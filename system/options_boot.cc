// -boot: what firmware is told about what to start from.
#include <algorithm>
#include <array>

#include "command_line.h"

namespace rhea::system {
namespace {

using util::fail;
using util::OptionList;
using util::Result;

constexpr std::array<std::string_view, 7> kKeys{"order",       "once",           "menu",  "splash",
                                                "splash-time", "reboot-timeout", "strict"};

/// Letters of order= and once=.
Result<void> check_letters(std::string_view key, std::string_view letters) {
    constexpr std::size_t kMost = 3;
    for (std::size_t i = 0; i < letters.size(); ++i) {
        const char letter = letters[i];
        if (letter == 'n') {
            return fail("{}={}: networks are not in this version of Rhea; leave 'n' out", key, letters);
        }
        if (letter < 'a' || letter > 'd') {
            return fail("{}={}: '{}' is no boot device; there are a (floppy), c (disk) and d (CD-ROM)", key, letters, letter);
        }
        if (letters.substr(0, i).find(letter) != std::string_view::npos) {
            return fail("{}={}: boot device '{}' is given twice", key, letters, letter);
        }
    }
    if (letters.size() > kMost) {
        return fail("{}={}: a PC has at most {} boot devices in order", key, letters, kMost);
    }
    return {};
}

Result<void> take_numbers(OptionList& options, core::BootOptions& boot) {
    if (options.has("splash-time")) {
        const auto wait = options.take_unsigned("splash-time", 0);
        if (!wait || *wait > 0xffff) {
            return fail("splash-time is a time in ms, from 0 to 65535");
        }
        boot.menu_wait_ms = static_cast<std::uint16_t>(*wait);
    }
    if (const auto text = options.take("reboot-timeout")) {
        if (*text == "-1") {
            boot.retry_after_ms = -1;
            return {};
        }
        OptionList number;
        number.add("n", *text);
        const auto wait = number.take_unsigned("n", 0);
        if (!wait || *wait > 0xffff) {
            return fail("reboot-timeout is a time in ms, from 0 to 65535, or -1 for never");
        }
        boot.retry_after_ms = static_cast<std::int32_t>(*wait);
    }
    return {};
}

Result<void> handle_boot(CommandLine& line, std::string_view argument) {
    OptionList options = OptionList::parse(argument, "order");
    core::BootOptions& boot = line.config.boot;
    for (const auto& [key, to] : {std::pair("order", &boot.order), std::pair("once", &boot.once)}) {
        if (const auto letters = options.take(key)) {
            if (auto done = check_letters(key, *letters); !done) {
                return done;
            }
            *to = *letters;
        }
    }
    const auto menu = options.take_bool("menu", boot.menu), strict = options.take_bool("strict", boot.strict);
    if (!menu || !strict) {
        return fail(menu ? strict.error() : menu.error());
    }
    boot.menu = *menu;
    boot.strict = *strict;
    if (options.take("splash")) {
        return fail("splash= needs a display, which is not in this version of Rhea");
    }
    if (auto done = take_numbers(options, boot); !done) {
        return done;
    }
    return options.finish({kKeys.begin(), kKeys.end()});
}

}  // namespace

std::span<const Option> boot_options() {
    static constexpr auto kOptions = std::to_array<Option>({
        {"boot", "[order=drives][,once=drives][,menu=on|off][,splash-time=ms][,reboot-timeout=ms][,strict=on|off]",
         "order: what firmware tries, one letter each: a floppy, c disk, d CD-ROM\n"
         "once: the order until the first reboot\n"
         "menu, splash-time: firmware offers its boot menu for that long\n"
         "reboot-timeout: how long firmware waits before it tries again when nothing boots\n"
         "strict: nothing but devices with bootindex=",
         handle_boot},
    });
    return kOptions;
}

}  // namespace rhea::system
