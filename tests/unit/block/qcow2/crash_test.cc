// Random requests beside each other, and a crash at a random moment: of what was not flushed, any part of any write is lost.
// Then the image must open, have no corruption (leaks are allowed), and hold everything that was flushed.
//
// RHEA_QCOW2_SEED and RHEA_QCOW2_STEPS: another seed; more crashes.
#include "tests/unit/block/qcow2/model.h"

namespace rhea::block::qcow2 {
namespace {

struct Variant {
    const char *name, *options;
    bool backing;
    std::uint64_t size;
};

class Qcow2Crash : public Qcow2Test, public ::testing::WithParamInterface<Variant> {
protected:
    /// Runs `steps` random requests, several at once; one that fails ends the run.
    Task<void> play(std::shared_ptr<Qcow2Node> node, SectorModel &model, std::mt19937_64 &random, unsigned steps) {
        TaskGroup group(context_);
        std::vector<bool> used(model.size()); // no two requests at once for one sector: their order would be open
        for (unsigned i = 0; i < steps && !group.failed(); ++i) {
            const unsigned kind = random() % 20;
            if (kind == 0) {
                group.start(flush(node, model));
            } else {
                std::uint64_t count = random() % 4 == 0 ? random() % 200 + 1 : random() % 10 + 1;
                const std::uint64_t first = random() % model.size();
                count = std::min(count, model.size() - first);
                bool free = true;
                for (std::uint64_t s = first; s < first + count; ++s)
                    free = free && !used[s];
                if (!free)
                    continue;
                for (std::uint64_t s = first; s < first + count; ++s)
                    used[s] = true;
                group.start(change(node, model, used, kind, first, count));
            }
            co_await group.below(static_cast<unsigned>(random() % 6));
        }
        auto done = co_await group.wait();
        failed_ = !done.has_value();
        if (failed_)
            error_ = done.error().message();
    }
    Task<Result<void>> flush(std::shared_ptr<Qcow2Node> node, SectorModel &model) {
        const std::vector<SectorModel::Content> safe = model.snapshot();
        auto done = co_await node->flush();
        if (done)
            model.flushed(safe);
        co_return done;
    }
    Task<Result<void>> change(std::shared_ptr<Qcow2Node> node, SectorModel &model, std::vector<bool> &used, unsigned kind, std::uint64_t first,
                              std::uint64_t count) {
        Result<void> done;
        const std::uint32_t number = ++number_;
        if (kind <= 2) { // zeroes
            model.begin_write(first, count, {number, 0});
            done = co_await node->write_zeroes(first * kSector, count * kSector, kind == 1 ? kMayUnmap : kNoFlags);
            if (done)
                model.end_write(first, count, {number, 0});
        } else {
            Bytes bytes(count * kSector);
            for (std::uint64_t i = 0; i < count; ++i)
                SectorModel::fill(&bytes[i * kSector], number);
            model.begin_write(first, count, {number, number});
            const IoVector from(bytes.data(), bytes.size());
            done = co_await node->write(first * kSector, from, kNoFlags);
            if (done)
                model.end_write(first, count, {number, number});
        }
        for (std::uint64_t s = first; s < first + count; ++s)
            used[s] = false;
        co_return done;
    }

    std::uint32_t number_ = 1000;
    bool failed_ = false;
    std::string error_;
};

TEST_P(Qcow2Crash, WhatWasFlushedIsThereAndNothingIsCorrupt) {
    const Variant setup = GetParam();
    const std::uint64_t seed = environment_number("RHEA_QCOW2_SEED", 1), rounds = environment_number("RHEA_QCOW2_STEPS", 12);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        SCOPED_TRACE(fmt::format("RHEA_QCOW2_SEED={} round {}", seed, round));
        std::mt19937_64 random(seed * 1000003 + round);
        auto file = make(setup.size, setup.options);
        SectorModel model(setup.size / kSector);
        std::shared_ptr<MemoryBlockNode> base;
        if (setup.backing) {
            Bytes bytes(setup.size);
            for (std::uint64_t i = 0; i < model.size(); ++i) {
                SectorModel::fill(&bytes[i * kSector], 5);
                model.at(i).is(5);
            }
            base = memory(bytes);
        }
        // Three lives of one image, each ended by a crash.
        for (unsigned life = 0; life < 3; ++life) {
            OpenOptions options = default_open_options(parse_header(file->bytes, "x").value());
            if (round % 2 == 1) // caches of a few slices: commits in the middle of everything
                options.l2_cache_bytes = options.refcount_cache_bytes = 8 * 512;
            auto node = open(file, {}, &options);
            ASSERT_TRUE(node);
            if (base)
                expect_ok(node->set_backing(base));
            file->yields = true;
            run(play(node, model, random, 40 + static_cast<unsigned>(random() % 200)));
            EXPECT_FALSE(failed_) << error_;
            file->yields = false;
            Bytes left = file->after_crash(random() % 5 == 0 ? 0 : random() | 1);
            node.reset();
            file = memory(std::move(left));
            auto after = open(file);
            ASSERT_TRUE(after);
            if (base)
                expect_ok(after->set_backing(base));
            expect_clean(*after, true);
            const Bytes all = read(*after, 0, setup.size);
            for (std::uint64_t s = 0; s < model.size(); ++s) {
                const std::uint32_t number = SectorModel::number_of(&all[s * kSector]);
                ASSERT_TRUE(model.at(s).can_be(number))
                    << "sector " << s << " has " << number << ", last written " << model.at(s).now.number << ", life " << life;
                model.at(s).is(number);
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Setups, Qcow2Crash,
                         ::testing::Values(Variant{"plain", "", false, 2 << 20}, Variant{"small_clusters", "cluster_size=512", true, 256 << 10},
                                           Variant{"four_k", "cluster_size=4k", true, 1 << 20}, Variant{"version2", "compat=0.10,cluster_size=4k", true, 1 << 20},
                                           Variant{"extended", "extended_l2=on,cluster_size=16k", true, 1 << 20},
                                           Variant{"lazy", "lazy_refcounts=on,cluster_size=4k", true, 1 << 20},
                                           Variant{"wide_counts", "refcount_bits=64,cluster_size=512", false, 256 << 10},
                                           Variant{"narrow_counts", "refcount_bits=1,cluster_size=4k", true, 1 << 20}),
                         [](const auto &info) { return std::string(info.param.name); });

TEST_F(Qcow2Test, ACrashWhileAPreallocatedImageIsMadeLeavesNoImageOrAnEmptyOneOrAll) {
    const std::uint64_t size = 4 << 20;
    const std::string options = "cluster_size=512,preallocation=metadata"; // its refcount table moves twice
    auto whole = memory();
    expect_ok(try_create(whole, size, options));
    const std::size_t requests = whole->log.size();
    EXPECT_LT(whole->count(MemoryBlockNode::Kind::kFlush), 10u) << "an image that is being made needs no order of writes";
    for (std::size_t stop = 0; stop <= requests; stop += stop + 40 < requests ? 23 : 1) {
        auto file = memory();
        file->fault = [stop](std::size_t number, const MemoryBlockNode::Logged &) { return number >= stop ? EIO : 0; };
        (void)try_create(file, size, options);
        for (std::uint64_t seed = 0; seed < 4; ++seed) {
            SCOPED_TRACE(fmt::format("stopped at request {} of {}, seed {}", stop, requests, seed));
            auto left = memory(file->after_crash(seed));
            const auto header = parse_header(left->bytes, "x");
            if (!header || header->size == 0)
                continue;
            ASSERT_EQ(header->size, size);
            auto image = open(left);
            ASSERT_TRUE(image);
            expect_clean(*image);
        }
    }
}

} // namespace
} // namespace rhea::block::qcow2
