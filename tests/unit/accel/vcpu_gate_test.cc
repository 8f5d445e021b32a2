// The gate of translated vCPUs, with threads that only pretend to run guest code.
#include "accel/tcg/vcpu_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace rhea::accel {
namespace {

/// A thread that goes in, passes as often as it is asked to, and now and then goes out.
class Runner {
public:
    Runner(VcpuGate &gate, unsigned index)
        : gate_(gate), member(index, exit_request, [this](const std::uint8_t *page) {
              if (writable.load() == page)
                  writable.store(nullptr);
          }) {
        gate.add(member);
    }
    void start() {
        thread_ = std::thread([this] { run(); });
    }
    void join() {
        stop_ = true;
        thread_.join();
    }

    std::uint32_t exit_request = 0;
    std::atomic<const std::uint8_t *> writable{nullptr}; ///< a TLB entry
    std::atomic<bool> executes{false};                   ///< between two polls
    std::atomic<unsigned> turns{0};

private:
    void run() {
        while (!stop_) {
            gate_.enter(member);
            for (unsigned i = 0; i < 50 && !stop_; ++i) {
                executes = true;
                ++turns;
                while (std::atomic_ref<std::uint32_t>(exit_request).load() == 0 && !stop_ && turns % 7 != 0)
                    ++turns;
                executes = false;
                std::atomic_ref<std::uint32_t>(exit_request).store(0);
                gate_.pass(member);
            }
            gate_.leave(member);
        }
    }

    VcpuGate &gate_;
    std::atomic<bool> stop_{false};
    std::thread thread_;

public:
    GateMember member;
};

TEST(VcpuGate, WhoIsAloneSeesNobodyRun) {
    VcpuGate gate(VcpuGate::Mode::kParallel);
    Runner a(gate, 0), b(gate, 1);
    a.start();
    b.start();
    std::uint32_t request = 0;
    GateMember self(2, request, [](const std::uint8_t *) {});
    gate.add(self); // nobody asks for the members yet
    gate.enter(self);
    for (unsigned i = 0; i < 200; ++i) {
        gate.exclusive(&self, [&] {
            EXPECT_FALSE(a.executes) << i;
            EXPECT_FALSE(b.executes) << i;
            std::this_thread::yield();
            EXPECT_FALSE(a.executes || b.executes);
        });
    }
    gate.leave(self);
    a.join();
    b.join();
}

TEST(VcpuGate, SeveralWantToBeAlone) {
    VcpuGate gate(VcpuGate::Mode::kParallel);
    std::atomic<unsigned> alone{0};
    unsigned total = 0; // guarded by being alone
    constexpr unsigned kThreads = 3, kTimes = 200;
    std::uint32_t requests[kThreads] = {};
    std::vector<std::unique_ptr<GateMember>> members;
    for (unsigned i = 0; i < kThreads; ++i) {
        members.push_back(std::make_unique<GateMember>(i, requests[i], [](const std::uint8_t *) {}));
        gate.add(*members.back());
    }
    std::vector<std::thread> threads;
    for (auto &member : members) {
        threads.emplace_back([&, self = member.get()] {
            gate.enter(*self);
            for (unsigned n = 0; n < kTimes; ++n) {
                gate.exclusive(self, [&] {
                    EXPECT_EQ(alone.fetch_add(1), 0u);
                    ++total;
                    alone.fetch_sub(1);
                });
                gate.pass(*self);
            }
            gate.leave(*self);
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    EXPECT_EQ(total, kThreads * kTimes);
}

TEST(VcpuGate, ARevokedPageIsForgottenWhenTheCallReturns) {
    VcpuGate gate(VcpuGate::Mode::kParallel);
    static const std::uint8_t kPage[1] = {};
    Runner a(gate, 0);
    std::uint32_t request = 0;
    GateMember self(1, request, [](const std::uint8_t *) {});
    gate.add(self);
    a.start();
    gate.enter(self);
    for (unsigned i = 0; i < 500; ++i) {
        a.writable = kPage;
        gate.revoke_elsewhere(self, kPage, [](unsigned index) { return index == 0; });
        // Outside it may not know yet, but then it will before it is inside again.
        const bool executes = a.executes;
        EXPECT_TRUE(!executes || a.writable.load() == nullptr) << i;
    }
    gate.leave(self);
    a.join();
}

TEST(VcpuGate, TwoThatRevokeEachOthersPages) {
    VcpuGate gate(VcpuGate::Mode::kParallel);
    static const std::uint8_t kPages[2] = {};
    std::uint32_t requests[2] = {};
    GateMember members[2] = {{0, requests[0], [](const std::uint8_t *) {}}, {1, requests[1], [](const std::uint8_t *) {}}};
    gate.add(members[0]);
    gate.add(members[1]);
    const auto work = [&](unsigned me) {
        gate.enter(members[me]);
        for (unsigned i = 0; i < 1000; ++i)
            gate.revoke_elsewhere(members[me], kPages + me, [me](unsigned index) { return index != me; });
        gate.leave(members[me]);
    };
    std::thread other(work, 1);
    work(0);
    other.join(); // ends
}

TEST(VcpuGate, OneAtATimeGivesEverybodyATurn) {
    VcpuGate gate(VcpuGate::Mode::kOneAtATime);
    std::atomic<unsigned> inside{0};
    constexpr unsigned kThreads = 3;
    std::uint32_t requests[kThreads] = {};
    std::vector<std::unique_ptr<GateMember>> members;
    std::atomic<unsigned> turns[kThreads] = {};
    for (unsigned i = 0; i < kThreads; ++i) {
        members.push_back(std::make_unique<GateMember>(i, requests[i], [](const std::uint8_t *) {}));
        gate.add(*members.back());
    }
    std::vector<std::thread> threads;
    for (unsigned me = 0; me < kThreads; ++me) {
        threads.emplace_back([&, me] {
            GateMember &self = *members[me];
            gate.enter(self);
            while (turns[0] < 5 || turns[1] < 5 || turns[2] < 5) {
                EXPECT_EQ(inside.fetch_add(1), 0u);
                ++turns[me];
                while (std::atomic_ref<std::uint32_t>(requests[me]).load() == 0 &&
                       (turns[0] < 5 || turns[1] < 5 || turns[2] < 5))
                    std::this_thread::yield(); // until the others want their turn
                std::atomic_ref<std::uint32_t>(requests[me]).store(0);
                inside.fetch_sub(1);
                gate.pass(self);
            }
            gate.leave(self);
        });
    }
    for (std::thread &thread : threads)
        thread.join();
    for (const auto &count : turns)
        EXPECT_GE(count.load(), 5u);
}

} // namespace
} // namespace rhea::accel
