// The table of backends: how `-chardev NAME,...` and the short forms make each.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rhea/chardev/chardev.h"
#include "rhea/util/option_list.h"

namespace rhea::chardev {

struct BackendContext {
    util::EventLoop& loop;
    std::function<void(std::string_view)> announce;
};

using BackendFactory = util::Result<std::unique_ptr<Chardev>> (*)(const BackendContext& context,
                                                                  std::string id,
                                                                  util::OptionList& options);

struct Backend {
    std::string_view name;
    std::string_view help;
    BackendFactory create;
    std::vector<std::string_view> keys;  ///< besides id, mux, logfile, logappend
};

std::span<const Backend> backend_table();

util::Result<std::unique_ptr<Chardev>> make_null(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_vc(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_ringbuf(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_file(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_pipe(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_stdio(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_pty(const BackendContext&, std::string, util::OptionList&);
util::Result<std::unique_ptr<Chardev>> make_socket(const BackendContext&, std::string, util::OptionList&);

/// The options of a short form ("file:x", "tcp:host:port,server=on", ...); the key "backend" names the
/// backend. Fails with a sentence for a form that does not exist.
util::Result<util::OptionList> expand_short_form(std::string_view text, const std::string& id);

}  // namespace rhea::chardev
