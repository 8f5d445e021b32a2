// The one table of commands and their options: parsing, --help and the man page read it.
#include "tools/img/run.h"

namespace rhea::img {
namespace {

constexpr Option kFormat{'f', {}, "FORMAT", "the image's format; found out by its content otherwise"};
constexpr Option kQuiet{'q', {}, {}, "print errors only"};
constexpr Option kProgress{'p', {}, {}, "show progress"};
constexpr Option kCache{'t', {}, "CACHE", "cache mode of the image written: none, writeback, writethrough, directsync, unsafe"};
constexpr Option kSourceCache{'T', {}, "CACHE", "cache mode of the images read"};
constexpr Option kForceShare{'U', "force-share", {}, "read an image that another program has open for writing"};
constexpr Option kImageOpts{0, "image-opts", {}, "FILE is options of a block node: driver=qcow2,file.filename=a.qcow2"};
constexpr Option kOutput{0, "output", "human|json", "the form of the output"};
constexpr Option kOptions{'o', {}, "OPTIONS", "options of the format, key=value,…; '-o help' lists them"};
constexpr Option kBacking{'b', {}, "FILE", "the backing file"};
constexpr Option kBackingFormat{'F', {}, "FORMAT", "the backing file's format"};
constexpr Option kSnapshot{'l', {}, "SNAPSHOT", "an internal snapshot: snapshot.id=ID, snapshot.name=NAME, or either alone"};
constexpr Option kObject{0, "object", "OBJECT", "secret,id=ID,data=TEXT or file=NAME: a passphrase, which encrypt.key-secret=ID names"};
constexpr Option kRate{'r', {}, "BYTES", "copy at most so many bytes a second"};

constexpr Option kAmend[] = {kOptions, kFormat, {0, "force", {}, "do also what can lose the data: overwrite or erase a key slot in use"}, kCache, kProgress, kQuiet, kImageOpts, kObject};
constexpr Option kBench[] = {
    {'c', {}, "COUNT", "number of requests; default: 75000"},
    {'d', {}, "DEPTH", "requests in flight; default: 64"},
    kFormat,
    {0, "flush-interval", "COUNT", "flush after so many writes"},
    {'n', {}, {}, "native AIO; here --image-opts with file.aio=native says it"},
    {0, "no-drain", {}, "go on with requests while a flush runs"},
    {'o', {}, "OFFSET", "where to begin"},
    {0, "pattern", "BYTE", "what to write; default: 0"},
    kQuiet,
    {'s', {}, "SIZE", "bytes of a request; default: 4k"},
    {'S', {}, "STEP", "from one request to the next; default: the size"},
    kCache,
    {'w', {}, {}, "write instead of read"},
    kForceShare,
    kImageOpts, kObject};
constexpr Option kBitmap[] = {{0, "add", {}, "make the bitmap; it records writes"},
                              {0, "remove", {}, "delete it"},
                              {0, "clear", {}, "clear all its bits"},
                              {0, "enable", {}, "let it record writes"},
                              {0, "disable", {}, "let it stay as it is"},
                              {0, "merge", "SOURCE", "set all bits of the bitmap SOURCE in it"},
                              {'b', {}, "FILE", "the image that has SOURCE; default: the same"},
                              {'F', {}, "FORMAT", "the format of -b's image"},
                              {'g', {}, "GRANULARITY", "bytes of the disk for a bit of a new bitmap; default: 64k"},
                              kFormat, kImageOpts, kObject};
constexpr Option kCheck[] = {{'r', {}, "leaks|all", "repair leaked clusters only, or everything"},
                             kFormat, kOutput, kQuiet, kSourceCache, kForceShare, kImageOpts, kObject};
constexpr Option kCommit[] = {{'b', {}, "FILE", "commit into this image of the chain; default: the one directly below"},
                              {'d', {}, {}, "leave the overlay as it is, do not empty it"},
                              kFormat, kCache, kRate, kProgress, kQuiet, kImageOpts, kObject};
constexpr Option kCompare[] = {kFormat,
                               {'F', {}, "FORMAT", "the second image's format"},
                               {'s', {}, {}, "strict: sizes and allocation must be equal too"},
                               kSourceCache, kProgress, kQuiet, kForceShare, kImageOpts, kObject};
constexpr Option kConvert[] = {
    kFormat,
    {'O', {}, "FORMAT", "the new image's format; default: raw"},
    kOptions,
    {'c', {}, {}, "compress"},
    {'B', {}, "FILE", "the new image's backing file; what that holds is not copied"},
    kBackingFormat,
    kSnapshot,
    {'m', {}, "COUNT", "copies that run at a time, 1 to 16; default: 8"},
    {'W', {}, {}, "write out of order: faster, and the new file's clusters lie in any order"},
    {'S', {}, "SIZE", "leave out runs of zeroes of this length and more; 0: allocate everything; default: 4k"},
    {'n', {}, {}, "the target exists: do not create it"},
    {0, "target-is-zero", {}, "the existing target reads as zeroes"},
    {0, "target-image-opts", {}, "the target is options of a block node"},
    {0, "salvage", {}, "go on when something cannot be read; it is zero in the copy"},
    {0, "bitmaps", {}, "copy the dirty bitmaps that the source keeps, too"},
    {0, "skip-broken-bitmaps", {}, "with --bitmaps: leave out those that are in use, which have gaps"},
    {'C', {}, {}, "let the host copy data where it can (copy_file_range); zeroes in it are not looked for"},
    kRate, kCache, kSourceCache, kProgress, kQuiet, kForceShare, kImageOpts, kObject};
constexpr Option kCreate[] = {kFormat, kOptions, kBacking, kBackingFormat,
                              {'u', {}, {}, "do not look at the backing file"},
                              kQuiet, kObject};
constexpr Option kDd[] = {kFormat, {'O', {}, "FORMAT", "the new image's format; default: raw"}, kForceShare, kImageOpts, kObject};
constexpr Option kInfo[] = {kFormat, kOutput, {0, "backing-chain", {}, "tell of the backing files too"}, kForceShare,
                            kImageOpts, kObject};
constexpr Option kMap[] = {kFormat,
                           {0, "start-offset", "OFFSET", "begin here"},
                           {0, "max-length", "LENGTH", "look at so many bytes"},
                           kOutput, kForceShare, kImageOpts, kObject};
constexpr Option kMeasure[] = {{'O', {}, "FORMAT", "the new image's format; default: raw"},
                               kOptions,
                               {0, "size", "SIZE", "of an empty image of this size"},
                               kFormat, kSnapshot, kOutput, kForceShare, kImageOpts, kObject};
constexpr Option kRebase[] = {{'b', {}, "FILE", "the new backing file; '' for none"},
                              kBackingFormat,
                              {'u', {}, {}, "change the name only: the old and the new backing file hold the same"},
                              kFormat, kCache, kSourceCache, kProgress, kQuiet, kForceShare, kImageOpts, kObject};
constexpr Option kResize[] = {{0, "shrink", {}, "yes, throw away what lies behind the new end"},
                              {0, "preallocation", "off|metadata|falloc|full", "how to prepare new space"},
                              kFormat, kQuiet, kImageOpts, kObject};
constexpr Option kSnapshotOptions[] = {{'l', {}, {}, "list them (the default)"},
                                       {'c', {}, "NAME", "make one"},
                                       {'a', {}, "SNAPSHOT", "go back to one"},
                                       {'d', {}, "SNAPSHOT", "delete one"},
                                       kFormat, kQuiet, kForceShare, kImageOpts, kObject};

const Command kCommands[] = {
    {"amend", "-o OPTIONS FILE", "changes options of an image", kAmend, run_amend},
    {"bench", "[OPTION...] FILE", "measures an image's speed", kBench, run_bench},
    {"bitmap", "(--add [-g SIZE] | --remove | --clear | --enable | --disable | --merge SOURCE [-b FILE])... FILE BITMAP",
     "changes a dirty bitmap that an image keeps", kBitmap, run_bitmap},
    {"check", "[-r leaks|all] FILE", "checks an image's metadata, and repairs it", kCheck, run_check},
    {"commit", "[-b BASE] [-d] FILE", "writes an overlay's data into its backing file", kCommit, run_commit},
    {"compare", "[-s] FILE FILE", "compares what two images hold", kCompare, run_compare},
    {"convert", "[-O FORMAT] [OPTION...] FILE... FILE", "copies images into one of another format", kConvert,
     run_convert},
    {"create", "[-f FORMAT] [-b BACKING -F FORMAT] [-o OPTIONS] FILE [SIZE]", "makes an image", kCreate, run_create},
    {"dd", "[-O FORMAT] [bs=N] [count=N] [skip=N] if=FILE of=FILE", "copies a part of an image", kDd, run_dd},
    {"info", "[--backing-chain] [--output=json] FILE", "tells what an image is", kInfo, run_info},
    {"map", "[--output=json] FILE", "tells where an image's bytes lie", kMap, run_map},
    {"measure", "[-O FORMAT] [-o OPTIONS] (--size N | FILE)", "tells what a new image would take", kMeasure,
     run_measure},
    {"rebase", "-b BACKING [-F FORMAT] [-u] FILE", "gives an image another backing file", kRebase, run_rebase},
    {"resize", "[--shrink] [--preallocation=MODE] FILE [+|-]SIZE", "makes a disk larger or smaller", kResize,
     run_resize, true},
    {"snapshot", "[-l | -c NAME | -a SNAPSHOT | -d SNAPSHOT] FILE", "internal snapshots", kSnapshotOptions,
     run_snapshot},
};

}  // namespace

std::span<const Command> commands() {
    return kCommands;
}

}  // namespace rhea::img
