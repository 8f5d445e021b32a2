#include "tools/img/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tools/img/run.h"

namespace rhea::img {
namespace {

using Json = nlohmann::ordered_json;

std::string local_date(std::uint32_t seconds) {
    const std::time_t time = seconds;
    std::tm fields{};
    localtime_r(&time, &fields);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &fields);
    return text;
}

std::string clock_text(std::uint64_t nanoseconds) {
    const std::uint64_t seconds = nanoseconds / 1'000'000'000;
    return fmt::format("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                       nanoseconds / 1'000'000 % 1000);
}

Json parsed(const std::string& text) {
    Json value = Json::parse(text, nullptr, false);
    return value.is_discarded() ? Json(text) : value;
}

/// "extents:" and its elements, each a step further in.
void print_value(std::string& out, const std::string& key, const Json& value, std::size_t depth) {
    const std::string indent(depth * 4, ' ');
    if (value.is_object() || value.is_array()) {
        out += fmt::format("{}{}:\n", indent, key);
        std::size_t index = 0;
        for (const auto& item : value.items()) {
            std::string name = value.is_array() ? fmt::format("[{}]", index++) : item.key();
            std::ranges::replace(name, '-', ' ');
            print_value(out, name, item.value(), depth + 1);
        }
        return;
    }
    out += fmt::format("{}{}: {}\n", indent, key,
                       value.is_string() ? value.get<std::string>() : value.dump());
}

Json snapshot_json(const block::NodeInfo::Snapshot& snapshot) {
    Json json{{"id", snapshot.id},
              {"name", snapshot.name},
              {"vm-state-size", snapshot.vm_state_size},
              {"date-sec", snapshot.date_sec},
              {"date-nsec", snapshot.date_nsec},
              {"vm-clock-sec", snapshot.vm_clock_nsec / 1'000'000'000},
              {"vm-clock-nsec", snapshot.vm_clock_nsec % 1'000'000'000}};
    if (snapshot.icount) {
        json["icount"] = *snapshot.icount;
    }
    return json;
}

Json one_info(const block::NodeInfo& info) {
    Json json;
    if (!info.snapshots.empty()) {
        json["snapshots"] = Json::array();
        for (const auto& snapshot : info.snapshots) {
            json["snapshots"].push_back(snapshot_json(snapshot));
        }
    }
    json["virtual-size"] = info.virtual_size;
    json["filename"] = info.filename;
    if (info.cluster_size) {
        json["cluster-size"] = *info.cluster_size;
    }
    json["format"] = info.format;
    if (info.actual_size) {
        json["actual-size"] = *info.actual_size;
    }
    if (info.encrypted) {
        json["encrypted"] = true;
    }
    if (info.compressed) {
        json["compressed"] = true;
    }
    if (!info.details.empty()) {
        Json data;
        for (const auto& detail : info.details) {
            std::string key = detail.key;
            std::ranges::replace(key, ' ', '-');
            data[key] = parsed(detail.json);
        }
        json["format-specific"] = {{"type", info.format}, {"data", data}};
    }
    if (!info.backing_filename.empty()) {
        if (!info.backing_format.empty()) {
            json["backing-filename-format"] = info.backing_format;
        }
        json["full-backing-filename"] = info.full_backing_filename;
        json["backing-filename"] = info.backing_filename;
    }
    json["dirty-flag"] = info.dirty;
    return json;
}

/// File names may hold any bytes; what is not UTF-8 is replaced.
std::string dump(const Json& json) {
    return json.dump(4, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string snapshot_table(const block::NodeInfo& info) {
    if (info.snapshots.empty()) {
        return {};
    }
    std::string text = fmt::format("Snapshot list:\n{:<9} {:<16}{:>9}{:>20}{:>13}{:>11}\n", "ID", "TAG", "VM SIZE",
                                   "DATE", "VM CLOCK", "ICOUNT");
    for (const auto& snapshot : info.snapshots) {
        text += fmt::format("{:<9} {:<16}{:>9}{:>20}{:>13}{:>11}\n", snapshot.id, snapshot.name,
                            human_size(snapshot.vm_state_size), local_date(snapshot.date_sec),
                            clock_text(snapshot.vm_clock_nsec),
                            snapshot.icount ? fmt::format("{}", *snapshot.icount) : "");
    }
    return text;
}

std::string info_text(const block::NodeInfo& info) {
    std::string text = fmt::format("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\n", info.filename,
                                   info.format, human_size(info.virtual_size), info.virtual_size);
    text += fmt::format("disk size: {}\n", info.actual_size ? human_size(*info.actual_size) : "unavailable");
    if (info.encrypted) {
        text += "encrypted: yes\n";
    }
    if (info.cluster_size) {
        text += fmt::format("cluster_size: {}\n", *info.cluster_size);
    }
    if (info.dirty) {
        text += "cleanly shut down: no\n";
    }
    if (!info.backing_filename.empty()) {
        text += fmt::format("backing file: {}", info.backing_filename);
        if (!info.full_backing_filename.empty() && info.full_backing_filename != info.backing_filename) {
            text += fmt::format(" (actual path: {})", info.full_backing_filename);
        }
        text += "\n";
        if (!info.backing_format.empty()) {
            text += fmt::format("backing file format: {}\n", info.backing_format);
        }
    }
    text += snapshot_table(info);
    if (!info.details.empty()) {
        text += "Format specific information:\n";
        for (const auto& detail : info.details) {
            print_value(text, detail.key, parsed(detail.json), 1);
        }
    }
    return text;
}

std::string info_json(const std::vector<block::NodeInfo>& infos, bool chain) {
    if (!chain) {
        return dump(one_info(infos.front()));
    }
    Json all = Json::array();
    for (const block::NodeInfo& info : infos) {
        all.push_back(one_info(info));
    }
    return dump(all);
}

std::string check_json(const block::CheckResult& result, const std::string& filename, const std::string& format) {
    Json json;
    const auto add = [&](const char* key, std::uint64_t value) {
        if (value) {
            json[key] = value;
        }
    };
    add("image-end-offset", result.image_end_offset);
    add("total-clusters", result.total_clusters);
    json["check-errors"] = result.check_errors;
    add("corruptions", result.corruptions);
    add("leaks", result.leaks);
    add("corruptions-fixed", result.corruptions_fixed);
    add("leaks-fixed", result.leaks_fixed);
    add("allocated-clusters", result.allocated_clusters);
    add("fragmented-clusters", result.fragmented_clusters);
    add("compressed-clusters", result.compressed_clusters);
    json["filename"] = filename;
    json["format"] = format;
    return dump(json);
}

std::string measure_json(std::uint64_t required, std::uint64_t fully_allocated, std::optional<std::uint64_t> bitmaps) {
    Json json{{"required", required}, {"fully-allocated", fully_allocated}};
    if (bitmaps) {
        json["bitmaps"] = *bitmaps;
    }
    return dump(json);
}

}  // namespace rhea::img
