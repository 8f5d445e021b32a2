#include "rhea/block/secret.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>

#include "block/dmg/dmg_chunks.h"

namespace rhea::block {

namespace {

constexpr std::size_t kMaxSecretBytes = 1 << 20;

struct Secrets {
    std::mutex mutex;
    std::map<std::string, std::string, std::less<>> by_id;
};

Secrets &secrets() {
    static Secrets all;
    return all;
}

util::Result<std::string> read_secret_file(const std::string &filename) {
    std::ifstream in(filename, std::ios::binary);
    std::string content(kMaxSecretBytes + 1, '\0');
    if (!in)
        return util::fail("cannot open '{}': {}", filename, std::strerror(errno));
    in.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (in.bad() || (in.fail() && !in.eof()))
        return util::fail("cannot read '{}'", filename);
    content.resize(static_cast<std::size_t>(in.gcount()));
    if (content.size() > kMaxSecretBytes)
        return util::fail("'{}' has more than {} bytes", filename, kMaxSecretBytes);
    return content;
}

util::Result<std::string> take_content(NodeOptions &options) {
    const auto data = options.take("data"), file = options.take("file");
    const std::string format = options.take("format").value_or("raw");
    if (data.has_value() == file.has_value())
        return util::fail("either data= or file= says what the secret is");
    if (format != "raw" && format != "base64")
        return util::fail("format= takes raw or base64, not '{}'", format);
    if (auto done = options.finish({"id", "data", "file", "format"}); !done)
        return util::fail(done.error());
    util::Result<std::string> content = data ? util::Result<std::string>(*data) : read_secret_file(*file);
    if (!content || format == "raw")
        return content;
    const auto bytes = decode_base64(*content);
    if (bytes.empty() && !content->empty())
        return util::fail("the content is not base64");
    return std::string(bytes.begin(), bytes.end());
}

} // namespace

util::Result<void> add_secret(NodeOptions options) {
    const std::string id = options.take("id").value_or("");
    if (id.empty())
        return util::fail("secret: id= is missing");
    auto content = take_content(options);
    if (!content)
        return util::fail(content.error().within("secret " + id));
    Secrets &all = secrets();
    const std::lock_guard lock(all.mutex);
    if (!all.by_id.try_emplace(id, std::move(*content)).second)
        return util::fail("there is already an object '{}'", id);
    return {};
}

util::Result<void> add_secret_object(std::string_view text) {
    auto options = text.starts_with('{') ? NodeOptions::from_json(text) : NodeOptions::from_text(text, "qom-type");
    if (!options)
        return util::fail(options.error());
    if (const std::string type = options->take("qom-type").value_or(""); type != "secret")
        return util::fail("objects of type secret can be made, not of '{}'", type);
    return add_secret(std::move(*options));
}

util::Result<std::string> find_secret(std::string_view id) {
    Secrets &all = secrets();
    const std::lock_guard lock(all.mutex);
    const auto at = all.by_id.find(id);
    if (at == all.by_id.end())
        return util::fail(util::Error("there is no secret '{}'; an object secret,id={},file=… makes one", id, id).with_code(ENOENT));
    return at->second;
}

} // namespace rhea::block
