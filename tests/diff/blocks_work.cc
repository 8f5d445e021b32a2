#include "tests/diff/blocks_work.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>
#include <sched.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace rhea::target::x86::diff {
namespace {

constexpr std::uint64_t kChunk = 2000;
constexpr unsigned kMaxJobs = 64, kMaxCrashes = 20;
constexpr int kSkipped = 77;

/// What the processes share.
struct Board {
    struct Worker {
        std::atomic<std::uint64_t> seed{0};   ///< the one that it runs
        std::atomic<std::uint64_t> chunk{~0ull}, next{0}; ///< of the chunk, the first seed that is not done
    };
    std::atomic<std::uint64_t> next_chunk{0};
    std::atomic<unsigned> shown{0};
    std::atomic<std::uint64_t> programs{0}, instructions{0}, blocks{0}, faults{0}, skipped{0}, different{0};
    Worker workers[kMaxJobs];
};

Board *make_board() {
    void *memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    return new (memory) Board;
}

/// The traced process answers within a microsecond when it shares the CPU.
void stay_on_one_cpu(unsigned job) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    unsigned wanted = job % static_cast<unsigned>(CPU_COUNT(&allowed));
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && wanted-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

void run_chunk(BlockRunner &runner, Board &board, Board::Worker &me, const WorkOptions &options) {
    const std::uint64_t chunk = me.chunk.load(), end = std::min(options.count, (chunk + 1) * kChunk);
    const BlockCounts before = runner.counts();
    while (me.next < end) {
        const std::uint64_t seed = options.first + me.next;
        me.seed = seed;
        me.next++; // a program that kills the process is not run again
        if (!runner.run(seed) && board.shown++ < options.shown) {
            std::printf("%s", runner.report().c_str());
            std::fflush(stdout);
        }
    }
    const BlockCounts after = runner.counts();
    board.programs += after.programs - before.programs;
    board.blocks += after.blocks - before.blocks;
    board.instructions += after.instructions - before.instructions;
    board.faults += after.faults - before.faults;
    board.skipped += after.skipped - before.skipped;
    board.different += after.different - before.different;
}

[[noreturn]] void work(Board &board, unsigned job, const WorkOptions &options) {
    stay_on_one_cpu(job);
    BlockRunner runner;
    if (!runner.why_not().empty()) {
        std::printf("%s\n", runner.why_not().c_str());
        std::fflush(stdout);
        _exit(kSkipped);
    }
    Board::Worker &me = board.workers[job];
    for (;;) {
        if (me.chunk == ~0ull) {
            me.chunk = board.next_chunk.load(); // not above what comes next: settled() may look in between
            me.chunk = board.next_chunk++;
            me.next = me.chunk * kChunk;
        }
        if (me.chunk * kChunk >= options.count) {
            _exit(0);
        }
        run_chunk(runner, board, me, options);
        me.chunk = ~0ull;
    }
}

pid_t start(Board &board, unsigned job, const WorkOptions &options) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        try {
            work(board, job, options);
        } catch (const std::exception &error) {
            std::printf("%s\n", error.what());
            std::fflush(stdout);
            _exit(1);
        }
    }
    return child;
}

/// Seeds below this (from the first one) are done.
std::uint64_t settled(const Board &board, const WorkOptions &options, const std::vector<pid_t> &children) {
    std::uint64_t done = std::min(options.count, board.next_chunk.load() * kChunk);
    for (unsigned job = 0; job < children.size(); job++) {
        const std::uint64_t chunk = board.workers[job].chunk.load();
        if (children[job] > 0 && chunk != ~0ull) {
            done = std::min(done, chunk * kChunk);
        }
    }
    return done;
}

std::string state_text(const WorkOptions &options, std::uint64_t done) {
    return "first " + std::to_string(options.first) + "\ncount " + std::to_string(options.count) + "\ndone " +
           std::to_string(done) + "\n";
}

std::uint64_t read_state(const WorkOptions &options) {
    std::ifstream file(options.state_file);
    if (options.state_file.empty() || !file) {
        return 0;
    }
    std::string word;
    std::uint64_t first = 0, count = 0, done = 0;
    file >> word >> first >> word >> count >> word >> done;
    if (!file || first != options.first || count != options.count || done > count) {
        throw std::runtime_error(options.state_file + " is of another range of seeds: name its range, or another file");
    }
    return done;
}

void write_state(const WorkOptions &options, std::uint64_t done) {
    if (options.state_file.empty()) {
        return;
    }
    const std::string temporary = options.state_file + ".new";
    std::ofstream(temporary) << state_text(options, done);
    std::rename(temporary.c_str(), options.state_file.c_str());
}

std::int64_t seconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

void print_progress(const Board &board, const WorkOptions &options, std::uint64_t done, std::int64_t since) {
    const std::uint64_t programs = board.programs.load();
    std::printf("%llu of %llu seeds; %llu programs of %llu blocks, %llu programs a second, %llu differ\n", static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(options.count), static_cast<unsigned long long>(programs), static_cast<unsigned long long>(board.blocks.load()),
                static_cast<unsigned long long>(programs / static_cast<std::uint64_t>(std::max<std::int64_t>(1, seconds() - since))),
                static_cast<unsigned long long>(board.different.load()));
    std::fflush(stdout);
}

} // namespace

WorkResult run_blocks(const WorkOptions &options) {
    const unsigned jobs = std::clamp(options.jobs, 1u, kMaxJobs);
    Board &board = *make_board();
    // Whole chunks only: the range's last one may be shorter.
    board.next_chunk = read_state(options) / kChunk;
    WorkResult result;
    std::vector<pid_t> children(jobs, 0);
    unsigned running = 0;
    for (unsigned job = 0; job < jobs; job++) {
        children[job] = start(board, job, options);
        running += children[job] > 0;
    }
    const std::int64_t since = seconds();
    std::int64_t told = since;
    while (running != 0) {
        int status = 0;
        const pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid > 0) {
            const auto job = static_cast<unsigned>(std::find(children.begin(), children.end(), pid) - children.begin());
            if (job == jobs) {
                continue;
            }
            children[job] = 0;
            running--;
            if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) {
                result.skipped_why = "nothing could be run natively";
            } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                std::printf("a process died at seed %llu (%s %d)\n", static_cast<unsigned long long>(board.workers[job].seed.load()),
                            WIFSIGNALED(status) ? "signal" : "exit code", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
                result.crashes++;
                if (result.crashes < kMaxCrashes) {
                    children[job] = start(board, job, options);
                    running += children[job] > 0;
                }
            }
            continue;
        }
        usleep(20000);
        if (options.progress_seconds != 0 && seconds() - told >= options.progress_seconds) {
            told = seconds();
            const std::uint64_t done = settled(board, options, children);
            print_progress(board, options, done, since);
            write_state(options, done);
        }
    }
    result.done = result.crashes < kMaxCrashes ? settled(board, options, children) : 0;
    write_state(options, result.done);
    result.counts = {board.programs, board.instructions, board.blocks, board.faults, board.skipped, board.different};
    munmap(&board, sizeof board);
    return result;
}

} // namespace rhea::target::x86::diff
