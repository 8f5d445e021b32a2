// Random operations of every kind against a plain array of bytes, over opening and closing, with snapshots, and a check after
// each stretch. RHEA_QCOW2_SEED and RHEA_QCOW2_STEPS: another seed; longer.
#include <map>

#include "tests/unit/block/qcow2/model.h"

namespace rhea::block::qcow2 {
namespace {

struct Variant {
    const char *name, *options;
    bool backing;
};

class Qcow2Model : public Qcow2Test, public ::testing::WithParamInterface<Variant> {
protected:
    void step(Qcow2Node &node, std::mt19937_64 &random) {
        const std::uint64_t size = model_.size();
        const std::uint64_t offset = random() % size;
        const std::uint64_t length = std::min<std::uint64_t>(size - offset, random() % 5 == 0 ? random() % 300000 + 1 : random() % 9000 + 1);
        const auto at = model_.begin() + static_cast<std::ptrdiff_t>(offset);
        switch (random() % 12) {
        case 0:
        case 1:
        case 2:
        case 3: {
            const Bytes bytes = pattern(length, static_cast<unsigned>(random()));
            write(node, offset, bytes);
            std::copy(bytes.begin(), bytes.end(), at);
            break;
        }
        case 4:
        case 5:
            expect_ok(run(node.write_zeroes(offset, length, random() % 2 ? kMayUnmap : kNoFlags)));
            std::fill_n(at, length, std::uint8_t{0});
            break;
        case 6: { // whole clusters become zero (or, with version 2 over a backing file, stay)
            const Geometry &g = node.image().geometry;
            const std::uint64_t first = g.align_up(offset), last = offset + length == size ? size : g.align_down(offset + length);
            expect_ok(run(node.discard(offset, length)));
            if (first < last && !(node.image().header.version < 3 && node.backing()))
                std::fill(model_.begin() + static_cast<std::ptrdiff_t>(first), model_.begin() + static_cast<std::ptrdiff_t>(last), std::uint8_t{0});
            break;
        }
        case 7: {
            const std::uint64_t cluster = node.cluster_size(), first = offset & ~(cluster - 1);
            const std::uint64_t bytes = std::min<std::uint64_t>(size - first, cluster * (random() % 4 + 1));
            Bytes data(bytes);
            for (std::size_t i = 0; i < data.size(); ++i)
                data[i] = static_cast<std::uint8_t>((i / 100 + offset) % 250 + 1);
            write(node, first, data, kCompressed);
            std::copy(data.begin(), data.end(), model_.begin() + static_cast<std::ptrdiff_t>(first));
            break;
        }
        case 8:
            expect_ok(run(node.flush()));
            break;
        case 9:
            if (snapshots_ok_ && random() % 4 == 0)
                snapshot(node, random);
            break;
        case 10:
            if (resize_ok_ && random() % 8 == 0)
                resize(node, random);
            break;
        default:
            EXPECT_EQ(read(node, offset, length), Bytes(at, at + static_cast<std::ptrdiff_t>(length)));
        }
    }
    void snapshot(Qcow2Node &node, std::mt19937_64 &random) {
        if (taken_.size() < 3 && (taken_.empty() || random() % 2)) {
            const std::string name = fmt::format("s{}", ++names_);
            NodeInfo::Snapshot snapshot;
            snapshot.name = name;
            expect_ok(run(node.snapshot_create(snapshot)));
            taken_[name] = model_;
        } else {
            auto chosen = taken_.begin();
            std::advance(chosen, static_cast<std::ptrdiff_t>(random() % taken_.size()));
            if (random() % 2) {
                expect_ok(run(node.snapshot_apply(chosen->first)));
                model_ = chosen->second;
            } else {
                expect_ok(run(node.snapshot_delete(chosen->first)));
                taken_.erase(chosen);
            }
        }
        expect_clean(node);
    }
    void resize(Qcow2Node &node, std::mt19937_64 &random) {
        const std::uint64_t size = (random() % (2 << 20) + 100000) / 512 * 512;
        expect_ok(run(node.truncate(size, Preallocation::kOff)));
        model_.resize(size, 0);
        expect_clean(node);
    }

    Bytes model_;
    std::map<std::string, Bytes> taken_;
    unsigned names_ = 0;
    bool snapshots_ok_ = true, resize_ok_ = true;
};

TEST_P(Qcow2Model, AgreesWithAnArray) {
    const std::uint64_t seed = environment_number("RHEA_QCOW2_SEED", 1), steps = environment_number("RHEA_QCOW2_STEPS", 25) * 10;
    SCOPED_TRACE(fmt::format("RHEA_QCOW2_SEED={}", seed));
    std::mt19937_64 random(seed);
    const Variant setup = GetParam();
    resize_ok_ = std::string(setup.options).find("0.10") == std::string::npos;
    snapshots_ok_ = std::string(setup.options).find("refcount_bits=1,") == std::string::npos;
    auto file = make(1 << 20, setup.options);
    model_.resize(1 << 20);
    std::shared_ptr<MemoryBlockNode> base;
    if (setup.backing) {
        base = memory(pattern(700000, 77));
        std::copy(base->bytes.begin(), base->bytes.end(), model_.begin());
    }
    for (unsigned life = 0; life < 6; ++life) {
        OpenOptions options = default_open_options(parse_header(file->bytes, "x").value());
        if (life % 2 == 1)
            options.l2_cache_bytes = options.refcount_cache_bytes = 8 * 512;
        auto node = open(file, {}, &options);
        ASSERT_TRUE(node);
        if (base)
            expect_ok(node->set_backing(base));
        for (std::uint64_t i = 0; i < steps / 6 && !HasFatalFailure(); ++i)
            step(*node, random);
        ASSERT_EQ(read(*node, 0, model_.size()) == model_, true) << "life " << life;
        expect_clean(*node);
        expect_ok(run(node->close()));
    }
}

INSTANTIATE_TEST_SUITE_P(Setups, Qcow2Model,
                         ::testing::Values(Variant{"plain", "", true}, Variant{"small_clusters", "cluster_size=512", true},
                                           Variant{"four_k", "cluster_size=4k", false}, Variant{"version2", "compat=0.10,cluster_size=4k", true},
                                           Variant{"extended", "extended_l2=on,cluster_size=16k", true},
                                           Variant{"lazy", "lazy_refcounts=on,cluster_size=4k", true},
                                           Variant{"wide_counts", "refcount_bits=64,cluster_size=512,compression_type=zstd", false},
                                           Variant{"narrow_counts", "refcount_bits=1,cluster_size=4k", true}),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
} // namespace rhea::block::qcow2
