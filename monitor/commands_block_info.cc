// info block, info blockstats, info iothreads.
#include <fmt/format.h>

#include <cerrno>

#include "commands.h"

namespace rhea::monitor {
namespace {

using block::BlockBackend;
using block::BlockNode;
using util::Result;

Value number(std::uint64_t value) { return Value(static_cast<std::int64_t>(value)); }

Result<block::NodeInfo> info_of(BlockNode& node) {
    return node.context().run_from_other_thread(node.info());
}

std::int64_t chain_depth(BlockNode& node) {
    std::int64_t depth = 0;
    for (BlockNode* below = node.backing(); below; below = below->backing()) {
        ++depth;
    }
    return depth;
}

Value::Object image_value(const block::NodeInfo& info) {
    Value::Object image{{"filename", info.filename}, {"format", info.format}, {"virtual-size", number(info.virtual_size)}};
    if (info.actual_size) {
        image.push_back({"actual-size", number(*info.actual_size)});
    }
    if (info.cluster_size) {
        image.push_back({"cluster-size", number(*info.cluster_size)});
    }
    if (!info.backing_filename.empty()) {
        image.push_back({"backing-filename", info.backing_filename});
        image.push_back({"full-backing-filename", info.full_backing_filename});
    }
    return image;
}

Value::Object limits_value(const block::ThrottleGroup* group) {
    constexpr const char* kNames[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
    const block::ThrottleLimits limits = group ? group->limits() : block::ThrottleLimits{};
    Value::Object object;
    for (unsigned kind = 0; kind < block::ThrottleLimits::kKinds; ++kind) {
        object.push_back({kNames[kind], number(limits.rates[kind].average)});
    }
    return object;
}

/// The image of a drive whose options put filters above it (copy-on-read=on): those have no names of the user's.
BlockNode& image_of(BlockNode& node) {
    BlockNode* image = &node;
    while (image->is_filter() && image->node_name().starts_with('#')) {
        image = image->file();
    }
    return *image;
}

Value inserted_value(BlockBackend& drive, BlockNode& node) {
    const auto info = info_of(node);
    constexpr const char* kDetect[] = {"off", "on", "unmap"};
    Value::Object inserted{
        {"file", info ? info->filename : std::string()},
        {"node-name", node.node_name()},
        {"ro", node.read_only()},
        {"drv", node.driver()},
        {"encrypted", info && info->encrypted},
        {"detect_zeroes", kDetect[static_cast<unsigned>(node.settings().detect_zeroes)]},
        {"backing_file_depth", chain_depth(node)},
        {"cache", Value::Object{{"writeback", drive.write_cache()},
                                {"direct", node.settings().direct},
                                {"no-flush", node.settings().no_flush}}},
    };
    if (BlockNode* backing = node.backing()) {
        const auto below = info_of(*backing);
        inserted.push_back({"backing_file", below ? below->filename : std::string()});
    }
    for (Value::Member& limit : limits_value(drive.throttle_group())) {
        inserted.push_back(std::move(limit));
    }
    if (info) {
        inserted.push_back({"image", image_value(*info)});
    }
    return inserted;
}

Result<Value> query_block(Host& host, const Arguments& arguments) {
    const std::string wanted = arguments.text("device");
    Value::List list;
    for (BlockBackend* drive : host.drives()) {
        if (!wanted.empty() && drive->name() != wanted) {
            continue;
        }
        const int status = drive->io_status();
        Value::Object entry{
            {"device", drive->name()},
            {"qdev", drive->attached_to},
            {"type", "unknown"},
            {"removable", drive->removable},
            {"locked", drive->tray_locked.load()},
            {"tray_open", drive->tray_open.load()},
            {"io-status", status == 0 ? "ok" : status == ENOSPC ? "nospace" : "failed"},
        };
        if (const auto node = drive->node()) {
            entry.push_back({"inserted", inserted_value(*drive, image_of(*node))});
        }
        if (arguments.flag("verbose")) {
            entry.push_back({"verbose", true});
        }
        list.push_back(std::move(entry));
    }
    if (list.empty() && !wanted.empty()) {
        return util::fail(host.find_drive(wanted).error());
    }
    return Value(std::move(list));
}

std::string print_inserted(const Value& inserted) {
    std::string text = fmt::format("    Cache mode:       {}{}{}\n", inserted["cache"]["writeback"].as_bool() ? "writeback" : "writethrough",
                                   inserted["cache"]["direct"].as_bool() ? ", direct" : "",
                                   inserted["cache"]["no-flush"].as_bool() ? ", ignore flushes" : "");
    if (!inserted["backing_file"].as_string().empty()) {
        text += fmt::format("    Backing file:     {} (chain depth: {})\n", inserted["backing_file"].as_string(),
                            inserted["backing_file_depth"].as_integer());
    }
    if (inserted["detect_zeroes"].as_string() != "off") {
        text += fmt::format("    Detect zeroes:    {}\n", inserted["detect_zeroes"].as_string());
    }
    std::string limits;
    bool any = false;
    for (const char* name : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"}) {
        any = any || inserted[name].as_integer() != 0;
        limits += fmt::format(" {}={}", name, inserted[name].as_integer());
    }
    return any ? text + "    I/O throttling:  " + limits + "\n" : text;
}

std::string print_image(const Value& image) {
    std::string text = fmt::format("\nImages:\nimage: {}\nfile format: {}\nvirtual size: {} bytes\n", image["filename"].as_string(),
                                   image["format"].as_string(), image["virtual-size"].as_integer());
    if (!image["actual-size"].is_null()) {
        text += fmt::format("disk size: {} bytes\n", image["actual-size"].as_integer());
    }
    if (!image["cluster-size"].is_null()) {
        text += fmt::format("cluster_size: {}\n", image["cluster-size"].as_integer());
    }
    if (!image["backing-filename"].is_null()) {
        text += fmt::format("backing file: {}\n", image["backing-filename"].as_string());
    }
    return text;
}

std::string print_block(const Value& result) {
    std::string text;
    for (const Value& drive : result.as_list()) {
        if (!text.empty()) {
            text += '\n';
        }
        const Value& inserted = drive["inserted"];
        text += drive["device"].as_string();
        if (inserted.is_null()) {
            text += ": [not inserted]\n";
        } else {
            text += fmt::format(" ({}): {} ({}{}{})\n", inserted["node-name"].as_string(), inserted["file"].as_string(),
                                inserted["drv"].as_string(), inserted["ro"].as_bool() ? ", read-only" : "",
                                inserted["encrypted"].as_bool() ? ", encrypted" : "");
        }
        if (drive["io-status"].as_string() != "ok") {
            text += fmt::format("    I/O status:       {}\n", drive["io-status"].as_string());
        }
        if (!drive["qdev"].as_string().empty()) {
            text += fmt::format("    Attached to:      {}\n", drive["qdev"].as_string());
        }
        if (drive["removable"].as_bool()) {
            text += fmt::format("    Removable device: {}locked, tray {}\n", drive["locked"].as_bool() ? "" : "not ",
                                drive["tray_open"].as_bool() ? "open" : "closed");
        }
        if (!inserted.is_null()) {
            text += print_inserted(inserted);
            if (drive["verbose"].as_bool() && !inserted["image"].is_null()) {
                text += print_image(inserted["image"]);
            }
        }
    }
    return text;
}

Result<Value> blockstats(Host& host, const Arguments&) {
    Value::List list;
    for (BlockBackend* drive : host.drives()) {
        const block::BlockStats stats = drive->copy_stats();
        const struct {
            const char* name;
            const block::BlockStats::Kind& kind;
        } kinds[] = {{"rd", stats.read}, {"wr", stats.write}, {"flush", stats.flush}, {"unmap", stats.unmap}};
        Value::Object numbers;
        for (const auto& [name, kind] : kinds) {
            numbers.push_back({fmt::format("{}_bytes", name), number(kind.bytes)});
            numbers.push_back({fmt::format("{}_operations", name), number(kind.operations)});
            numbers.push_back({fmt::format("{}_merged", name), number(kind.merged)});
            numbers.push_back({fmt::format("{}_total_time_ns", name), number(kind.total_time_ns)});
            numbers.push_back({fmt::format("failed_{}_operations", name), number(kind.failed)});
            numbers.push_back({fmt::format("invalid_{}_operations", name), number(kind.invalid)});
        }
        numbers.push_back({"wr_highest_offset", number(stats.write_highest_offset)});
        const auto node = drive->node();
        list.push_back(Value::Object{{"device", drive->name()},
                                     {"node-name", node ? node->node_name() : std::string()},
                                     {"stats", std::move(numbers)}});
    }
    return Value(std::move(list));
}

std::string print_blockstats(const Value& result) {
    std::string text;
    for (const Value& drive : result.as_list()) {
        text += drive["device"].as_string() + ":";
        for (const Value::Member& each : drive["stats"].as_object()) {
            text += fmt::format(" {}={}", each.name, each.value.as_integer());
        }
        text += '\n';
    }
    return text;
}

Result<Value> iothreads(Host& host, const Arguments&) {
    Value::List list;
    for (const auto& [id, thread] : host.iothreads()) {
        list.push_back(Value::Object{{"id", id}, {"thread-id", thread}});
    }
    return Value(std::move(list));
}
std::string print_iothreads(const Value& result) {
    std::string text;
    for (const Value& each : result.as_list()) {
        text += fmt::format("{}:\n  thread_id={}\n", each["id"].as_string(), each["thread-id"].as_integer());
    }
    return text;
}

}  // namespace

std::vector<Command> block_info_commands() {
    using enum ArgumentType;
    return {
        {"info block", "query-block", {{"verbose", kFlag, true, "v"}, {"device", kString, true}}, "[-v] [device]",
         "drives and their images, or one of them (-v: the images' details too)", query_block, print_block},
        {"info blockstats", "query-blockstats", {}, "", "what each drive has read, written and flushed", blockstats, print_blockstats},
        {"info iothreads", "query-iothreads", {}, "", "threads that serve drives", iothreads, print_iothreads},
    };
}

}  // namespace rhea::monitor
