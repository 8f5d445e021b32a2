#include "line_editor.h"

#include <algorithm>

namespace rhea::monitor {

void LineEditor::show_prompt() {
    hooks_.show(prompt_ + line_);
    if (cursor_ < line_.size()) {
        hooks_.show("\x1b[" + std::to_string(line_.size() - cursor_) + "D");
    }
}

void LineEditor::clear() {
    line_.clear();
    cursor_ = 0;
    escape_ = Escape::kNone;
    history_at_ = history_.size();
}

void LineEditor::redraw() {
    hooks_.show("\r\x1b[K");
    show_prompt();
}

void LineEditor::replace(std::string text) {
    line_ = std::move(text);
    cursor_ = line_.size();
    redraw();
}

void LineEditor::input(std::uint8_t byte) {
    const bool same_key = byte == '\n' && std::exchange(after_return_, false);
    after_return_ = byte == '\r';
    if (same_key) {
        return;
    }
    if (escape_ == Escape::kEscape) {
        parameter_ = 0;
        escape_ = byte == '[' || byte == 'O' ? Escape::kBracket : Escape::kNone;
    } else if (escape_ == Escape::kBracket) {
        bracket(byte);
    } else if (byte < 0x20 || byte == 0x7f) {
        control(byte);
    } else {
        insert(static_cast<char>(byte));
    }
}

void LineEditor::insert(char c) {
    if (line_.size() >= kMaxLine) {
        return;
    }
    line_.insert(cursor_++, 1, c);
    if (cursor_ == line_.size()) {
        hooks_.show({&c, 1});
    } else {
        redraw();
    }
}

void LineEditor::control(std::uint8_t byte) {
    constexpr auto ctrl = [](char letter) { return static_cast<std::uint8_t>(letter & 0x1f); };
    switch (byte) {
        case '\r':
        case '\n':
            finish();
            break;
        case '\t':
            complete();
            break;
        case 0x08:
        case 0x7f:
            erase_before();
            break;
        case 0x1b:
            escape_ = Escape::kEscape;
            break;
        case ctrl('A'):
            cursor_ = 0;
            redraw();
            break;
        case ctrl('E'):
            cursor_ = line_.size();
            redraw();
            break;
        case ctrl('B'):
            cursor_ -= cursor_ > 0 ? 1 : 0;
            redraw();
            break;
        case ctrl('F'):
            cursor_ += cursor_ < line_.size() ? 1 : 0;
            redraw();
            break;
        case ctrl('D'):
            erase_here();
            break;
        case ctrl('K'):
            line_.erase(cursor_);
            redraw();
            break;
        case ctrl('U'):
            line_.erase(0, cursor_);
            cursor_ = 0;
            redraw();
            break;
        case ctrl('W'):
            erase_word();
            break;
        case ctrl('P'):
            recall(-1);
            break;
        case ctrl('N'):
            recall(1);
            break;
        case ctrl('L'):
            hooks_.show("\x1b[2J\x1b[H");
            show_prompt();
            break;
        default:
            break;
    }
}

void LineEditor::bracket(std::uint8_t byte) {
    if (byte >= '0' && byte <= '9') {
        parameter_ = std::min(parameter_ * 10 + (byte - '0'), 1000u);
        return;
    }
    if (byte == ';') {
        parameter_ = 0;
        return;
    }
    escape_ = Escape::kNone;
    const auto as = [&](char letter) { control(static_cast<std::uint8_t>(letter & 0x1f)); };
    switch (byte) {
        case 'A':
            recall(-1);
            break;
        case 'B':
            recall(1);
            break;
        case 'C':
            as('F');
            break;
        case 'D':
            as('B');
            break;
        case 'H':
            as('A');
            break;
        case 'F':
            as('E');
            break;
        case '~':
            if (parameter_ == 1 || parameter_ == 7) {
                as('A');
            } else if (parameter_ == 4 || parameter_ == 8) {
                as('E');
            } else if (parameter_ == 3) {
                erase_here();
            }
            break;
        default:
            break;
    }
}

void LineEditor::erase_before() {
    if (cursor_ == 0) {
        return;
    }
    line_.erase(--cursor_, 1);
    if (cursor_ == line_.size()) {
        hooks_.show("\b \b");
    } else {
        redraw();
    }
}

void LineEditor::erase_here() {
    if (cursor_ < line_.size()) {
        line_.erase(cursor_, 1);
        redraw();
    }
}

void LineEditor::erase_word() {
    std::size_t start = cursor_;
    while (start > 0 && line_[start - 1] == ' ') {
        --start;
    }
    while (start > 0 && line_[start - 1] != ' ') {
        --start;
    }
    line_.erase(start, cursor_ - start);
    cursor_ = start;
    redraw();
}

void LineEditor::finish() {
    hooks_.show("\r\n");
    const std::string line = std::exchange(line_, {});
    cursor_ = 0;
    if (!line.empty() && (history_.empty() || history_.back() != line)) {
        history_.push_back(line);
        if (history_.size() > kMaxHistory) {
            history_.erase(history_.begin());
        }
    }
    history_at_ = history_.size();
    hooks_.line(line);
}

void LineEditor::recall(std::ptrdiff_t step) {
    const auto at = static_cast<std::ptrdiff_t>(history_at_) + step;
    if (at < 0 || at > static_cast<std::ptrdiff_t>(history_.size())) {
        return;
    }
    if (history_at_ == history_.size()) {
        new_line_ = line_;
    }
    history_at_ = static_cast<std::size_t>(at);
    replace(history_at_ == history_.size() ? new_line_ : history_[history_at_]);
}

void LineEditor::complete() {
    const std::vector<std::string> found =
        hooks_.complete(std::string_view(line_).substr(0, cursor_));
    if (found.empty()) {
        return;
    }
    std::string common = found.front();
    for (const std::string& candidate : found) {
        const auto differs = std::mismatch(common.begin(), common.end(), candidate.begin(),
                                           candidate.end());
        common.erase(differs.first, common.end());
    }
    const std::size_t word = line_.rfind(' ', cursor_ == 0 ? 0 : cursor_ - 1);
    const std::size_t start = word == std::string::npos || word >= cursor_ ? 0 : word + 1;
    if (common.size() > cursor_ - start || found.size() == 1) {
        if (found.size() == 1) {
            common += ' ';
        }
        line_.replace(start, cursor_ - start, common);
        cursor_ = start + common.size();
        redraw();
        return;
    }
    std::string list = "\r\n";
    for (const std::string& candidate : found) {
        list += candidate + "\r\n";
    }
    hooks_.show(list);
    show_prompt();
}

}  // namespace rhea::monitor
