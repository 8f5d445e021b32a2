#include "tools/img/help.h"


namespace rhea::img {
namespace {

std::string spelled(const Option& option) {
    std::string text = option.letter ? fmt::format("-{}", option.letter) : "";
    if (!option.name.empty()) {
        text += fmt::format("{}--{}", text.empty() ? "" : ", ", option.name);
    }
    if (!option.argument.empty()) {
        text += option.name.empty() ? " " : "=";
        text += option.argument;
    }
    return text;
}

/// Hyphens as troff wants them.
std::string troff(std::string_view text) {
    std::string out;
    for (const char c : text) {
        out += c == '-' ? std::string("\\-") : std::string(1, c);
    }
    return out;
}

std::string format_names() {
    std::string text;
    for (const block::BlockDriver* driver : block::block_drivers()) {
        text += fmt::format("{}{}", text.empty() ? "" : " ", driver->name);
    }
    return text;
}

}  // namespace

std::string general_help() {
    std::string text =
        "usage: rhea-img COMMAND [OPTION...] OPERAND...\n\nWorks on disk images; commands, options and exit codes "
        "are those of qemu-img.\n\n";
    for (const Command& command : commands()) {
        text += fmt::format("  {:<10}{}\n", command.name, command.summary);
    }
    text += fmt::format(
        "\n'rhea-img COMMAND --help' lists a command's options, 'rhea-img create -f FORMAT -o help' a "
        "format's.\nSizes are bytes, or have a suffix k, M, G, T, P or E (powers of 1024).\n\n"
        "Supported formats: {}\n",
        format_names());
    return text;
}

std::string command_help(const Command& command) {
    std::string text =
        fmt::format("usage: rhea-img {} {}\n\n{}\n\n", command.name, command.operands, command.summary);
    for (const Option& option : command.options) {
        text += fmt::format("  {:<28}{}\n", spelled(option), option.help);
    }
    text += fmt::format("  {:<28}{}\n", "-h, --help", "print this text");
    return text;
}

std::string man_page() {
    std::string text = fmt::format(
        ".TH RHEA-IMG 1 \"\" \"Rhea {}\" \"Rhea\"\n.SH NAME\nrhea\\-img \\- makes, converts, checks and changes disk "
        "images\n.SH SYNOPSIS\n.B rhea\\-img\n.I command\n.RI [ options ]\n.I operands\n.SH DESCRIPTION\n"
        "Commands, options, output and exit codes are those of qemu\\-img. Sizes are bytes, or have a suffix k, M, G, "
        "T, P or E (powers of 1024). A format is found out by an image's content unless it is given.\n.SH FORMATS\n{}\n"
        ".SH COMMANDS\n",
        RHEA_VERSION, troff(format_names()));
    for (const Command& command : commands()) {
        text += fmt::format(".SS \"{} {}\"\n{}\n", troff(command.name), troff(command.operands),
                            troff(command.summary));
        for (const Option& option : command.options) {
            text += fmt::format(".TP\n\\fB{}\\fR\n{}\n", troff(spelled(option)), troff(option.help));
        }
    }
    text +=
        ".SH EXIT STATUS\n.TP\n\\fB0\\fR\ndone (compare: equal; check: clean)\n.TP\n\\fB1\\fR\nfailed (compare: the images "
        "differ)\n.TP\n\\fB2\\fR\ncheck: the image is corrupt; compare: an image cannot be opened\n.TP\n\\fB3\\fR\n"
        "check: the image has leaked clusters; compare: a status query failed\n.TP\n\\fB4\\fR\ncompare: a read "
        "failed\n.TP\n\\fB63\\fR\ncheck: the format has no checks\n";
    return text;
}

}  // namespace rhea::img
