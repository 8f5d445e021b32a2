// rhea-nbd: offers a disk image to others over NBD; qemu-nbd's options.
#include <fmt/format.h>
#include <getopt.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

#include "rhea/block/driver.h"
#include "rhea/block/secret.h"
#include "rhea/util/option_list.h"
#include "tools/nbd/listener.h"

namespace {

using namespace rhea;
using util::fail;
using util::Result;

struct Settings {
    nbd::Address address;
    std::string file, pid_file, cache = "writeback", aio, discard, detect_zeroes, snapshot;
    std::optional<std::string> format;
    std::string name, description;
    std::uint64_t offset = 0;
    unsigned shared = 1;
    bool read_only = false, persistent = false, fork = false, image_opts = false;
};

constexpr const char* kHelp = R"(usage: rhea-nbd [OPTION...] FILE

Offers a disk image over NBD.

  -k, --socket=PATH          a UNIX socket
  -p, --port=PORT            TCP port; default: 10809
  -b, --bind=ADDRESS         TCP address; default: 0.0.0.0
  -e, --shared=COUNT         so many clients at a time; default: 1, 0: any number
  -t, --persistent           go on when the last client has left
  -f, --format=FORMAT        the image's format; found out by its content otherwise
  -r, --read-only            no client may write
  -l, --load-snapshot=SNAP   offer an internal snapshot (snapshot.id=ID, snapshot.name=NAME, or either alone)
  -x, --export-name=NAME     the export's name; default: none
  -D, --description=TEXT     its description
  -o, --offset=BYTES         leave out the image's beginning
  -n, --nocache              the same as --cache=none
      --cache=MODE           none, writeback, writethrough, directsync, unsafe
      --aio=MODE             threads, native, io_uring
      --discard=MODE         ignore, unmap
      --detect-zeroes=MODE   off, on, unmap
      --image-opts           FILE is options of a block node
      --object OBJECT        secret,id=ID,file=NAME: a passphrase, which encrypt.key-secret=ID names
      --fork                 go on in the background once clients can connect
      --pid-file=PATH        write the process number there
  -h, --help                 print this text
  -V, --version              print the version
)";

enum LongOnly : int { kCache = 1000, kAio, kDiscard, kDetectZeroes, kImageOpts, kObject, kFork, kPidFile, kRefused };

constexpr option kOptions[] = {
    {"socket", required_argument, nullptr, 'k'},     {"port", required_argument, nullptr, 'p'},
    {"bind", required_argument, nullptr, 'b'},       {"shared", required_argument, nullptr, 'e'},
    {"persistent", no_argument, nullptr, 't'},       {"format", required_argument, nullptr, 'f'},
    {"read-only", no_argument, nullptr, 'r'},        {"load-snapshot", required_argument, nullptr, 'l'},
    {"export-name", required_argument, nullptr, 'x'}, {"description", required_argument, nullptr, 'D'},
    {"offset", required_argument, nullptr, 'o'},     {"nocache", no_argument, nullptr, 'n'},
    {"cache", required_argument, nullptr, kCache},   {"aio", required_argument, nullptr, kAio},
    {"discard", required_argument, nullptr, kDiscard},
    {"detect-zeroes", required_argument, nullptr, kDetectZeroes},
    {"image-opts", no_argument, nullptr, kImageOpts}, {"object", required_argument, nullptr, kObject}, {"fork", no_argument, nullptr, kFork},
    {"pid-file", required_argument, nullptr, kPidFile}, {"verbose", no_argument, nullptr, 'v'}, {"trace", required_argument, nullptr, 'T'},
    {"tls-authz", required_argument, nullptr, kRefused}, {"selinux-label", required_argument, nullptr, kRefused},
    {"help", no_argument, nullptr, 'h'},             {"version", no_argument, nullptr, 'V'},
    {"connect", required_argument, nullptr, 'c'},    {"disconnect", no_argument, nullptr, 'd'},
    {"snapshot", no_argument, nullptr, 's'},         {"list", no_argument, nullptr, 'L'},
    {"tls-creds", required_argument, nullptr, kRefused}, {"bitmap", required_argument, nullptr, 'B'},
    {"allocation-depth", no_argument, nullptr, 'A'}, {nullptr, 0, nullptr, 0}};

Result<void> take(Settings& settings, int found, std::string value, std::string_view word) {
    switch (found) {
        case 'k': settings.address.unix_path = value; return {};
        case 'p': settings.address.port = value; return {};
        case 'b': settings.address.host = value; return {};
        case 't': settings.persistent = true; return {};
        case 'f': settings.format = value; return {};
        case 'r': settings.read_only = true; return {};
        case 'l': settings.snapshot = value; settings.read_only = true; return {};
        case 'D': settings.description = value; return {};
        case 'n': settings.cache = "none"; return {};
        case kCache: settings.cache = value; return {};
        case kAio: settings.aio = value; return {};
        case kDiscard: settings.discard = value; return {};
        case kDetectZeroes: settings.detect_zeroes = value; return {};
        case kImageOpts: settings.image_opts = true; return {};
        case kObject:
            if (auto done = block::add_secret_object(value); !done) {
                return fail(done.error().within("--object"));
            }
            return {};
        case kFork: settings.fork = true; return {};
        case kPidFile: settings.pid_file = value; return {};
        case 'x':
            if (value.size() > 4096) {
                return fail("an export's name has at most 4096 bytes");
            }
            settings.name = value;
            return {};
        case 'e': {
            const auto number = util::parse_unsigned(value);
            if (!number || *number > 10000) {
                return fail("--shared takes a number from 0 to 10000, not '{}'", value);
            }
            settings.shared = static_cast<unsigned>(*number);
            return {};
        }
        case 'o': {
            const auto bytes = util::parse_size(value);
            if (!bytes) {
                return fail(bytes.error().within("--offset"));
            }
            settings.offset = *bytes;
            return {};
        }
        case ':': return fail("option '{}' needs a value", word);
        case '?': return fail("there is no option '{}'; 'rhea-nbd --help' lists them", word);
        default:
            return fail("{} is not in this version of rhea-nbd; 'rhea-nbd --help' lists what is", word);
    }
}

/// The options of the block node.
Result<block::NodeOptions> node_options(const Settings& settings) {
    block::NodeOptions options;
    if (settings.image_opts) {
        auto parsed = block::NodeOptions::from_text(settings.file);
        if (!parsed) {
            return fail(parsed.error());
        }
        options = std::move(*parsed);
    }
    if (settings.format) {
        options.set("driver", *settings.format);
    }
    if (settings.cache == "none" || settings.cache == "directsync") {
        options.set("cache.direct", "on");
    } else if (settings.cache == "unsafe") {
        options.set("cache.no-flush", "on");
    } else if (settings.cache != "writeback" && settings.cache != "writethrough") {
        return fail("--cache takes none, writeback, writethrough, directsync or unsafe, not '{}'", settings.cache);
    }
    if (!settings.aio.empty()) {
        options.set("file.aio", settings.aio);
    }
    if (!settings.discard.empty()) {
        options.set("discard", settings.discard);
    }
    if (!settings.detect_zeroes.empty()) {
        options.set("detect-zeroes", settings.detect_zeroes);
    }
    return options;
}

/// Goes into the background; the parent returns only when the child says that it is ready, or has ended.
int fork_and_wait() {
    int ends[2];
    if (pipe(ends) != 0) {
        fmt::print(stderr, "rhea-nbd: cannot make a pipe: {}\n", std::strerror(errno));
        std::exit(1);
    }
    const pid_t child = fork();
    if (child < 0) {
        fmt::print(stderr, "rhea-nbd: cannot fork: {}\n", std::strerror(errno));
        std::exit(1);
    }
    if (child == 0) {
        close(ends[0]);
        setsid();
        return ends[1];
    }
    close(ends[1]);
    char ready = 0;
    const ssize_t got = read(ends[0], &ready, 1);
    std::_Exit(got == 1 ? 0 : 1);
}

/// SIGTERM, SIGINT and SIGHUP end the server in an orderly way.
block::Task<void> wait_for_signal(block::IoContext& context, int fd, nbd::Listener& listener) {
    co_await context.wait_fd(fd, util::EventLoop::kReadable);
    listener.stop();
}

Result<int> serve(const Settings& settings) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
        sigaddset(&signals, number);
    }
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    const int report = settings.fork ? fork_and_wait() : -1;

    block::IoContext context;
    auto options = node_options(settings);
    if (!options) {
        return fail(options.error());
    }
    block::OpenFlags flags;
    flags.read_only = settings.read_only;
    auto opening = block::open_image(context, settings.image_opts ? "" : settings.file, *options, flags);
    auto node = context.run(std::move(opening));
    if (!node) {
        return fail(node.error());
    }
    if (!settings.snapshot.empty()) {
        std::string wanted = settings.snapshot;
        if (wanted.starts_with("snapshot.id=") || wanted.starts_with("snapshot.name=")) {
            wanted = wanted.substr(wanted.find('=') + 1);
        }
        auto showing = (*node)->snapshot_show(wanted);
        if (auto done = context.run(std::move(showing)); !done) {
            return fail(done.error());
        }
    }
    block::BlockBackend disk("nbd", context);
    disk.set_node(*node);
    disk.set_write_cache(settings.cache != "writethrough" && settings.cache != "directsync");
    if (settings.offset > disk.length()) {
        return fail("--offset {} is behind the image's end ({} bytes)", settings.offset, disk.length());
    }
    nbd::Export exported{settings.name, settings.description, settings.read_only || disk.read_only(),
                         settings.offset, disk.length() - settings.offset, &disk};
    auto listener = nbd::Listener::open(context, settings.address, exported);
    if (!listener) {
        return fail(listener.error());
    }
    if (!settings.pid_file.empty()) {
        std::ofstream file(settings.pid_file);
        file << getpid() << '\n';
        if (!file.flush()) {
            return fail("cannot write '{}': {}", settings.pid_file, std::strerror(errno));
        }
    }
    if (report >= 0) {
        if (write(report, "", 1) != 1) {
            return fail("whoever started this server is gone");
        }
        close(report);
    }
    const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    context.spawn(wait_for_signal(context, signal_fd, **listener));
    auto serving = (*listener)->run(settings.shared, settings.persistent);
    context.run(std::move(serving));
    listener->reset();
    disk.set_node(nullptr);
    auto closing = (*node)->close();
    if (auto done = context.run(std::move(closing)); !done) {
        return fail(done.error());
    }
    if (!settings.pid_file.empty()) {
        unlink(settings.pid_file.c_str());
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    Settings settings;
    opterr = 0;
    for (;;) {
        const int at = optind;
        const int found = getopt_long(argc, argv, ":k:p:b:e:tf:rl:x:D:o:nhVc:dsLB:AvT:", kOptions, nullptr);
        if (found == -1) {
            break;
        }
        if (found == 'h') {
            fmt::print("{}", kHelp);
            return 0;
        }
        if (found == 'V') {
            fmt::print("rhea-nbd version {}\n", RHEA_VERSION);
            return 0;
        }
        if (auto done = take(settings, found, optarg ? optarg : "", argv[at]); !done) {
            fmt::print(stderr, "rhea-nbd: {}\n", done.error().message());
            return 1;
        }
    }
    if (optind != argc - 1) {
        fmt::print(stderr, "rhea-nbd: {}; the form is: rhea-nbd [OPTION...] FILE\n",
                   optind >= argc ? "the image is missing" : fmt::format("'{}' is one operand too many", argv[optind + 1]));
        return 1;
    }
    settings.file = argv[optind];
    auto status = serve(settings);
    if (!status) {
        fmt::print(stderr, "rhea-nbd: {}\n", status.error().message());
        return 1;
    }
    return *status;
}
