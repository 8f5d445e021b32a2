#include "tools/img/run.h"

#include <getopt.h>

#include <cmath>
#include <cstdio>

#include "rhea/block/secret.h"
#include "rhea/util/nearest_name.h"
#include "rhea/util/option_list.h"

namespace rhea::img {
namespace {

/// getopt's answers for long options without a letter start here.
constexpr int kLongBase = 1000;

std::string spelled(const Option& option) {
    return option.letter ? fmt::format("-{}", option.letter) : fmt::format("--{}", option.name);
}

}  // namespace

Result<void> Run::parse(std::vector<std::string> words) {
    std::optional<std::string> last;
    if (command_.last_word_is_operand && words.size() > 1 && words.back().size() > 1 &&
        (words.back()[0] == '-' && words.back()[1] >= '0' && words.back()[1] <= '9')) {
        last = std::move(words.back());
        words.pop_back();
    }
    std::string letters = ":h";
    std::vector<option> longs{{"help", no_argument, nullptr, 'h'}};
    std::vector<std::string> names;  // stable storage for `longs`
    names.reserve(command_.options.size());
    for (std::size_t i = 0; i < command_.options.size(); ++i) {
        const Option& option = command_.options[i];
        if (option.letter) {
            letters += option.letter;
            letters += option.argument.empty() ? "" : ":";
        }
        if (!option.name.empty()) {
            names.emplace_back(option.name);
            longs.push_back({names.back().c_str(),
                             option.argument.empty() ? no_argument : required_argument, nullptr,
                             kLongBase + static_cast<int>(i)});
        }
    }
    longs.push_back({});

    std::vector<char*> arguments{const_cast<char*>("rhea-img")};
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const int count = static_cast<int>(words.size()) + 1;
    opterr = 0;
    optind = 1;
    for (;;) {
        const int at = optind;
        const int found = getopt_long(count, arguments.data(), letters.c_str(), longs.data(), nullptr);
        if (found == -1) {
            break;
        }
        if (found == 'h') {
            wants_help = true;
            continue;
        }
        if (found == ':') {
            return fail("option '{}' needs a value", arguments[static_cast<std::size_t>(optind - 1)]);
        }
        if (found == '?') {
            std::string word = optopt > 0 && optopt < kLongBase
                                         ? fmt::format("-{}", static_cast<char>(optopt))
                                         : std::string(arguments[static_cast<std::size_t>(at)]);
            word = word.substr(0, word.find('='));
            std::vector<std::string_view> known(names.begin(), names.end());
            const auto nearest = word.starts_with("--")
                                     ? util::nearest_name(std::string_view(word).substr(2), known)
                                     : std::nullopt;
            return fail("{} has no option '{}'{}; 'rhea-img {} --help' lists them", command_.name,
                        word, nearest ? fmt::format(" (did you mean '--{}'?)", *nearest) : "",
                        command_.name);
        }
        for (std::size_t i = 0; i < command_.options.size(); ++i) {
            const Option& option = command_.options[i];
            if (found == kLongBase + static_cast<int>(i) || (option.letter && found == option.letter)) {
                const std::string value = optarg && !option.argument.empty() ? optarg : "";
                values_[option.key()].push_back(value);
                given_.emplace_back(option.key(), value);
            }
        }
    }
    for (int i = optind; i < count; ++i) {
        operands_.emplace_back(arguments[static_cast<std::size_t>(i)]);
    }
    if (last) {
        operands_.push_back(std::move(*last));
    }
    return {};
}

Result<void> Run::make_objects() const {
    for (const std::string& text : values("object")) {
        if (auto done = block::add_secret_object(text); !done) {
            return fail(done.error().within("--object"));
        }
    }
    return {};
}

block::IoContext& Run::context() {
    if (!context_) {
        context_ = std::make_unique<block::IoContext>();
        context_->set_may_block(true);
    }
    return *context_;
}

std::optional<std::string> Run::value(std::string_view key) const {
    const auto found = values_.find(std::string(key));
    if (found == values_.end()) {
        return std::nullopt;
    }
    return found->second.back();
}

std::vector<std::string> Run::values(std::string_view key) const {
    const auto found = values_.find(std::string(key));
    return found == values_.end() ? std::vector<std::string>{} : found->second;
}

Result<void> Run::need_operands(std::size_t least, std::size_t most) const {
    if (operands_.size() >= least && operands_.size() <= most) {
        return {};
    }
    return fail("{}; the form is: rhea-img {} {}",
                operands_.size() < least ? "an operand is missing"
                                         : fmt::format("'{}' is one operand too many", operands_[most]),
                command_.name, command_.operands);
}

namespace {

std::string spelled_key(const Command& command, std::string_view key) {
    for (const Option& option : command.options) {
        if (option.key() == key) {
            return spelled(option);
        }
    }
    return std::string(key);
}

}  // namespace

Result<std::uint64_t> Run::size(std::string_view key, std::uint64_t fallback) const {
    const auto text = value(key);
    if (!text) {
        return fallback;
    }
    auto bytes = util::parse_size(*text);
    if (!bytes) {
        return fail(bytes.error().within(spelled_key(command_, key)));
    }
    return *bytes;
}

Result<std::uint64_t> Run::number(std::string_view key, std::uint64_t fallback, std::uint64_t least,
                                  std::uint64_t most) const {
    const auto text = value(key);
    if (!text) {
        return fallback;
    }
    const auto number = util::parse_unsigned(*text);
    if (!number || *number < least || *number > most) {
        return fail("{} takes a number from {} to {}, not '{}'", spelled_key(command_, key), least,
                    most, *text);
    }
    return *number;
}

Result<bool> Run::json() const {
    const std::string form = value("output").value_or("human");
    if (form != "human" && form != "json") {
        return fail("--output takes human or json, not '{}'", form);
    }
    return form == "json";
}

std::string human_size(std::uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1000 && unit < 6) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{:.3g} {}", value, kUnits[unit]);
}

void complain(std::string_view sentence) {
    std::fflush(stdout);
    fmt::print(stderr, "rhea-img: {}\n", sentence);
}

}  // namespace rhea::img
