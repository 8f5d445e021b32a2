// What every command of rhea-img works with: its arguments, the context that runs its coroutines, and how it speaks.
//
// A command is a row of the table in commands.cc: its options are declared there once, for parsing, --help and the man
// page. One thread.
#pragma once
#include <fmt/format.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/block/driver.h"
#include "rhea/block/io_context.h"
#include "rhea/util/result.h"

namespace rhea::img {

using util::fail;
using util::Result;

/// One option of a command.
struct Option {
    char letter = 0;            ///< 'f'; 0: only a long name
    std::string_view name;      ///< "output"; empty: only a letter
    std::string_view argument;  ///< what the help calls it; empty: a flag
    std::string_view help;

    /// What Run knows it by: the name, else the letter.
    std::string key() const { return name.empty() ? std::string(1, letter) : std::string(name); }
};

class Run;

struct Command {
    std::string_view name;
    std::string_view operands;  ///< "[-f FORMAT] FILE [SIZE]"
    std::string_view summary;
    std::span<const Option> options;
    Result<int> (*run)(Run& run);  ///< yields the exit status
    /// The last word is an operand even where it begins with '-' (resize FILE -1G).
    bool last_word_is_operand = false;
};

std::span<const Command> commands();

/// The arguments of one run of one command.
class Run {
  public:
    explicit Run(const Command& command) : command_(command) {}

    /// Parses `words`; fails with a sentence that names the nearest option.
    Result<void> parse(std::vector<std::string> words);

    const Command& command() const { return command_; }
    block::IoContext& context();
    bool has(std::string_view key) const { return values_.contains(std::string(key)); }
    std::optional<std::string> value(std::string_view key) const;  ///< the last one given
    std::vector<std::string> values(std::string_view key) const;
    /// The options in the order in which they were given: key and value.
    const std::vector<std::pair<std::string, std::string>>& given() const { return given_; }
    const std::vector<std::string>& operands() const { return operands_; }
    Result<void> need_operands(std::size_t least, std::size_t most) const;
    bool quiet() const { return has("q"); }

    /// A number of bytes ("64k") of option `key`, or `fallback`.
    Result<std::uint64_t> size(std::string_view key, std::uint64_t fallback) const;
    Result<std::uint64_t> number(std::string_view key, std::uint64_t fallback,
                                 std::uint64_t least, std::uint64_t most) const;
    /// --output: true for json.
    Result<bool> json() const;

    /// Prints a line unless -q.
    template <typename... Args>
    void say(fmt::format_string<Args...> format, Args&&... args) const {
        if (!quiet()) {
            fmt::print(format, std::forward<Args>(args)...);
        }
    }

    /// Makes what --object describes.
    Result<void> make_objects() const;

    bool wants_help = false;

  private:
    const Command& command_;
    std::unique_ptr<block::IoContext> context_;
    std::map<std::string, std::vector<std::string>> values_;
    std::vector<std::pair<std::string, std::string>> given_;
    std::vector<std::string> operands_;
};

/// "10 GiB", "1.21 MiB", "512 B".
std::string human_size(std::uint64_t bytes);
/// A warning or error on standard error, with the program's name.
void complain(std::string_view sentence);

// The commands (a file each).
Result<int> run_amend(Run& run);
Result<int> run_bench(Run& run);
Result<int> run_bitmap(Run& run);
Result<int> run_check(Run& run);
Result<int> run_commit(Run& run);
Result<int> run_compare(Run& run);
Result<int> run_convert(Run& run);
Result<int> run_create(Run& run);
Result<int> run_dd(Run& run);
Result<int> run_info(Run& run);
Result<int> run_map(Run& run);
Result<int> run_measure(Run& run);
Result<int> run_rebase(Run& run);
Result<int> run_resize(Run& run);
Result<int> run_snapshot(Run& run);

}  // namespace rhea::img
