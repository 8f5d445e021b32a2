// A line of input with cursor, history and completion, for terminals that are only a byte stream.
//
// Bytes go in; what the terminal must show comes out; a finished line is handed over. Knows nothing
// of the monitor. One thread.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace rhea::monitor {

class LineEditor {
  public:
    struct Hooks {
        std::function<void(std::string_view)> show;  ///< to the terminal
        std::function<void(const std::string&)> line;
        std::function<std::vector<std::string>(std::string_view)> complete;
    };
    LineEditor(std::string prompt, Hooks hooks) : prompt_(std::move(prompt)), hooks_(std::move(hooks)) {}

    void input(std::uint8_t byte);
    /// Shows prompt and line as they stand.
    void show_prompt();
    /// Forgets the unfinished line.
    void clear();

  private:
    static constexpr std::size_t kMaxLine = 4096;
    static constexpr std::size_t kMaxHistory = 64;
    enum class Escape : std::uint8_t { kNone, kEscape, kBracket };

    void control(std::uint8_t byte);
    void bracket(std::uint8_t byte);
    void insert(char c);
    void erase_before();
    void erase_here();
    void erase_word();
    void redraw();
    void finish();
    void recall(std::ptrdiff_t step);
    void complete();
    void replace(std::string text);

    std::string prompt_;
    Hooks hooks_;
    std::string line_;
    std::size_t cursor_ = 0;
    Escape escape_ = Escape::kNone;
    unsigned parameter_ = 0;
    std::vector<std::string> history_;
    std::size_t history_at_ = 0;  ///< history_.size(): the new line
    std::string new_line_;        ///< what stood there before recalling
    bool after_return_ = false;   ///< a \n that follows \r is the same key
};

}  // namespace rhea::monitor
