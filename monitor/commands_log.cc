// log and logfile: what -d and -D say, while the guest runs.
#include <fmt/format.h>

#include "commands.h"
#include "rhea/util/log.h"

namespace rhea::monitor {
namespace {

using util::Result;

Result<Value> log(Host&, const Arguments& arguments) {
    const std::string& items = arguments.text("items");
    if (items == "help") {
        std::string text = "Log items, of which -d and log take a list with commas:\nnone            nothing is logged\n";
        for (const util::LogItem& item : util::log_items()) {
            text += fmt::format("{:<15} {}\n", item.name, item.help);
        }
        return Value(std::move(text));
    }
    if (items == "none") {
        util::set_log_mask(0);
        return Value();
    }
    const auto mask = util::parse_log_items(items);
    if (!mask) {
        return util::fail(mask.error());
    }
    util::set_log_mask(*mask);
    return Value();
}

Result<Value> log_file(Host&, const Arguments& arguments) {
    if (auto done = util::set_log_file(arguments.text("filename")); !done) {
        return util::fail(done.error());
    }
    return Value();
}

}  // namespace

std::vector<Command> log_commands() {
    return {
        {"log", "", {{"items", ArgumentType::kString}}, "item1[,...]",
         "what is logged from now on; 'log help' lists the items", log, nullptr},
        {"logfile", "", {{"filename", ArgumentType::kString}}, "filename",
         "where the log goes from now on", log_file, nullptr},
    };
}

}  // namespace rhea::monitor
