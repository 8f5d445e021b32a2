// -drive, -hda and their kin: what they say, and where the drives go.
#include "drive_options.h"

#include <gtest/gtest.h>

namespace rhea::system {
namespace {

using util::OptionList;

DriveSpec drive(const std::string& text) {
    auto spec = parse_drive(OptionList::parse(text, "file"));
    EXPECT_TRUE(spec) << spec.error().message();
    return spec.value_or(DriveSpec{});
}
std::string refusal(const std::string& text) {
    auto spec = parse_drive(OptionList::parse(text, "file"));
    return spec ? "" : spec.error().message();
}
std::string node_value(const DriveSpec& spec, const std::string& key) {
    const auto at = spec.node.values().find(key);
    return at == spec.node.values().end() ? "" : at->second;
}

TEST(DriveOptionsTest, KeysGoWhereTheyBelong) {
    const DriveSpec spec = drive(
        "file=/a,,b.img,if=none,id=d0,format=qcow2,cache=directsync,aio=threads,discard=unmap,werror=stop,rerror=ignore,"
        "throttling.bps-total=1000,throttling.group=g,backing.file.filename=base,lazy-refcounts=on");
    EXPECT_EQ(spec.filename, "/a,b.img");
    EXPECT_EQ(spec.interface, "none");
    EXPECT_EQ(node_value(spec, "driver"), "qcow2");
    EXPECT_EQ(node_value(spec, "cache.direct"), "on");
    EXPECT_EQ(node_value(spec, "file.aio"), "threads");
    EXPECT_EQ(node_value(spec, "backing.file.filename"), "base");
    EXPECT_EQ(node_value(spec, "lazy-refcounts"), "on");
    EXPECT_EQ(node_value(spec, "read-only"), "off");
    EXPECT_EQ(node_value(spec, "werror"), "");
    EXPECT_TRUE(spec.write_through);
    EXPECT_EQ(spec.on_write_error, block::ErrorAction::kStop);
    EXPECT_EQ(spec.on_read_error, block::ErrorAction::kIgnore);
    EXPECT_EQ(spec.limits.rates[block::ThrottleLimits::kBpsTotal].average, 1000u);
    EXPECT_EQ(spec.throttle_group, "g");
}

TEST(DriveOptionsTest, OldSpellingsOfLimitsHold) {
    const DriveSpec spec = drive("file=a,bps_rd=5,iops_max=20,iops=10");
    EXPECT_EQ(spec.limits.rates[block::ThrottleLimits::kBpsRead].average, 5u);
    EXPECT_EQ(spec.limits.rates[block::ThrottleLimits::kIopsTotal].burst, 20u);
}

TEST(DriveOptionsTest, MistakesAreNamed) {
    EXPECT_EQ(refusal("file=a,if=virtoi"), "if=virtoi is not in this version of Rhea; did you mean if=virtio?");
    EXPECT_EQ(refusal("file=a,media=floppy"), "media= takes disk or cdrom, not 'floppy'");
    EXPECT_EQ(refusal("file=a,cache=fast"),
              "cache mode 'fast' is unknown; it may be none, writeback, writethrough, directsync or unsafe");
    EXPECT_EQ(refusal("file=a,rerror=enospc"), "rerror= takes report, ignore or stop, not 'enospc'");
    EXPECT_EQ(refusal("file=a,index=1,unit=0"), "index= says what bus= and unit= say; leave index= or both of them out");
    EXPECT_EQ(refusal("file=a,index=x"), "'index' takes a number, not 'x'");
    EXPECT_EQ(refusal("file=a,media=cdrom,readonly=off"), "media=cdrom is read-only; leave readonly=off out");
    EXPECT_EQ(refusal("file=a,throttling.bps-totl=3"), "unknown option 'throttling.bps-totl'; did you mean 'throttling.bps-total'?");
    EXPECT_NE(refusal("file=a,copy-on-read=on,readonly=on"), "");
    EXPECT_NE(refusal("file=a,copy-on-read=maybe"), "");
}

TEST(DriveOptionsTest, PlacesAndIdsAreQemus) {
    std::vector<DriveSpec> drives{drive("file=a"), drive_at("b", 0, false), drive_at("c", 2, true), drive("file=d,if=virtio"),
                                  drive("file=e,if=virtio"), drive("file=f,if=none,id=mine"), drive("media=cdrom")};
    ASSERT_TRUE(place_drives(drives, "ide"));
    std::vector<std::string> ids;
    for (const DriveSpec& spec : drives) {
        ids.push_back(spec.id);
    }
    EXPECT_EQ(ids, (std::vector<std::string>{"ide0-hd1", "ide0-hd0", "ide1-cd0", "virtio0", "virtio1", "mine", "ide1-cd1"}));
    EXPECT_FALSE(drives.back().has_medium);
}

TEST(DriveOptionsTest, APlaceIsTakenOnce) {
    std::vector<DriveSpec> drives{drive_at("a", 1, false), drive("file=b,bus=0,unit=1")};
    EXPECT_EQ(place_drives(drives, "ide").error().message(), "two drives want if=ide,bus=0,unit=1 (index=1)");
    drives = {drive("file=b,unit=2")};
    EXPECT_EQ(place_drives(drives, "ide").error().message(), "a bus of if=ide has units 0 to 1, not 2");
}

}  // namespace
}  // namespace rhea::system
