// Images with a few bytes changed, mostly where the tables are. RHEA_FUZZ_STEPS inputs from seed RHEA_FUZZ_SEED on.
#include <random>

#include "block/qcow2/format.h"
#include "rhea/block/secret.h"
#include "tests/fuzz/block/qcow2_input.h"
#include "tests/unit/block/qcow2/fixture.h"

namespace rhea::block::qcow2 {
namespace {

class Qcow2Fuzz : public Qcow2Test {
protected:
    /// Small images that have something of everything.
    Bytes seed_image(const std::string &options, bool snapshot) {
        auto file = make(2 << 20, options);
        const bool encrypted = options.starts_with("encrypt");
        OpenOptions open_options = default_open_options(parse_header(file->bytes, "fuzz").value());
        open_options.key_secret = encrypted ? "fuzz" : "";
        auto node = open(file, {}, &open_options);
        write(*node, 0, pattern(100000, 1));
        if (node->cluster_size() <= 65536 && !encrypted)
            write(*node, 1 << 20, Bytes(65536, 7), kCompressed);
        if (node->image().header.version > 2)
            expect_ok(run(node->write_zeroes(1500000, 70000)));
        if (snapshot) {
            NodeInfo::Snapshot taken;
            taken.name = "first";
            expect_ok(run(node->snapshot_create(taken)));
            write(*node, 5000, pattern(3000, 2));
        }
        expect_ok(run(node->close()));
        return file->bytes;
    }
    static std::uint64_t number(const char *name, std::uint64_t fallback) {
        const char *text = std::getenv(name);
        return text != nullptr ? std::strtoull(text, nullptr, 0) : fallback;
    }
};

/// Changes a few bytes: single ones, whole words to telling values, bits.
void mutate(Bytes &image, std::mt19937_64 &random) {
    const std::uint64_t l1 = load_be<std::uint64_t>(&image[40]), table = load_be<std::uint64_t>(&image[48]);
    std::vector<std::uint64_t> places{0, 0, l1, table};
    const auto follow = [&](std::uint64_t at) {
        if (at + 8 <= image.size())
            places.push_back(load_be<std::uint64_t>(&image[at]) & kOffsetMask);
    };
    follow(l1);
    follow(l1);
    follow(table);
    places.push_back(load_be<std::uint64_t>(&image[64]));
    if (const auto header = parse_header(image, "fuzz"); header && header->encryption)
        places.push_back(header->encryption->offset);
    const unsigned changes = static_cast<unsigned>(random() % 4 + 1);
    for (unsigned i = 0; i < changes; ++i) {
        const std::uint64_t base = places[random() % places.size()];
        const std::uint64_t at = (base + (base == 0 ? random() % 160 : random() % 256)) % (image.size() - 8);
        switch (random() % 5) {
        case 0: image[at] = static_cast<std::uint8_t>(random()); break;
        case 1: image[at] ^= static_cast<std::uint8_t>(1u << random() % 8); break;
        case 2: store_be(&image[at & ~std::uint64_t{7}], random() % 2 ? ~std::uint64_t{0} : random() << 9); break;
        case 3: store_be(&image[at & ~std::uint64_t{7}], places[random() % places.size()] | (random() % 2 ? kCopied : 0)); break;
        default: store_be(&image[at & ~std::uint64_t{3}], static_cast<std::uint32_t>(random() % 3 ? random() % 70000 : random())); break;
        }
    }
    if (random() % 20 == 0)
        image.resize(random() % image.size() + 1);
}

TEST_F(Qcow2Fuzz, DamagedImagesAreErrors) {
    expect_ok(add_secret(NodeOptions::from_text("id=fuzz,data=fuzz").value()));
    const std::vector<Bytes> seeds{seed_image("encrypt.format=luks,encrypt.key-secret=fuzz,encrypt.iter-time=1", true),
                                   seed_image("", true), seed_image("cluster_size=512", false),
                                   seed_image("extended_l2=on,cluster_size=16k", true),
                                   seed_image("compat=0.10,cluster_size=4k", true), seed_image("refcount_bits=64,cluster_size=1k", true),
                                   seed_image("lazy_refcounts=on,compression_type=zstd", false)};
    const std::uint64_t steps = number("RHEA_FUZZ_STEPS", 400), seed = number("RHEA_FUZZ_SEED", 1);
    for (std::uint64_t i = 0; i < steps; ++i) {
        std::mt19937_64 random(seed * 1000000 + i);
        Bytes image = seeds[i % seeds.size()];
        mutate(image, random);
        SCOPED_TRACE(fmt::format("RHEA_FUZZ_SEED={} step {}", seed, i));
        run_fuzz_input(image);
    }
}

} // namespace
} // namespace rhea::block::qcow2
