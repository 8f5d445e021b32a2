// The one table of monitor commands: name, arguments, help, handler. HMP and QMP both read it.
//
// A handler returns structured data (Value) or a sentence; `print` turns the data into what people
// read. Handlers run in the main thread without the machine lock.
#pragma once
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/monitor/host.h"
#include "rhea/monitor/value.h"
#include "rhea/util/result.h"

namespace rhea::monitor {

enum class ArgumentType : std::uint8_t {
    kInteger,  ///< a number; HMP takes sums and differences of decimal and 0x numbers
    kString,   ///< one word; HMP takes "quoted words" too
    kRest,     ///< the rest of the line
    kFlag,     ///< HMP: -f anywhere before the others; QMP: a bool
    kFormat,   ///< HMP only: /COUNT FORMAT SIZE, as in x /4xw
};

struct Argument {
    std::string_view name;
    ArgumentType type;
    bool optional = false;
    std::string_view letter = {};  ///< of a flag: "f"
};

/// Arguments by name, checked against the schema.
class Arguments {
  public:
    void set(std::string_view name, Value value) {
        values_.insert_or_assign(std::string(name), std::move(value));
    }
    bool has(std::string_view name) const { return values_.contains(std::string(name)); }
    const std::string& text(std::string_view name) const { return value(name).as_string(); }
    std::int64_t integer(std::string_view name) const { return value(name).as_integer(); }
    bool flag(std::string_view name) const { return value(name).as_bool(); }

  private:
    const Value& value(std::string_view name) const {
        static const Value kNull;
        const auto found = values_.find(std::string(name));
        return found == values_.end() ? kNull : found->second;
    }
    std::map<std::string, Value> values_;
};

struct Command {
    std::string_view name;      ///< HMP's: "cont|c", "info status"
    std::string_view qmp_name;  ///< "cont", "query-status"; empty: for people only
    std::vector<Argument> arguments;
    std::string_view parameters;  ///< how help writes the arguments
    std::string_view help;
    util::Result<Value> (*run)(Host& host, const Arguments& arguments);
    std::string (*print)(const Value& result);  ///< null: a string result as it stands
    /// Instead of `print`, where what people read depends on the monitor.
    std::string (*print_for)(const Host& host, const Value& result) = nullptr;
};

/// All commands, those of `info` as "info NAME".
std::span<const Command> command_table();

/// The command of an HMP line's first words ("c", "cont", "info status"); null: unknown.
const Command* find_command(std::string_view word, std::string_view second_word = {});

/// Parses the words behind an HMP command by its schema.
util::Result<Arguments> parse_arguments(const Command& command, std::string_view text);

/// The value of "0x10", "4096+16", "-1".
std::optional<std::int64_t> parse_integer(std::string_view text);

/// Runs one HMP line: what it prints (with \n line ends). An empty line prints nothing.
std::string run_line(Host& host, std::string_view line);

/// What may stand for the last word of `line`.
std::vector<std::string> completions(std::string_view line);

}  // namespace rhea::monitor
