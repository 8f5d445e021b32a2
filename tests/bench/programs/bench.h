/* What the benchmark's guest programs share.
 *
 * A program is a function `uint64_t run_NAME(struct bench *b)` and a row in programs.def. It prepares
 * its data, does b->count units of work between bench_start and bench_stop, and returns a checksum
 * that depends on the work and on nothing else: not on the CPU, the kernel, addresses or the clock.
 * So no libm function (their results differ by CPU) and no x87 transcendental.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

struct bench {
    uint64_t count;   /* units of work to do: the row's count, scaled; at least 1 */
    uint64_t began;   /* nanoseconds, CLOCK_MONOTONIC */
    uint64_t elapsed; /* nanoseconds of the timed region */
    const char *self; /* this executable, for exec */
};

void bench_start(struct bench *b);
void bench_stop(struct bench *b);

/* Ends the program with this sentence as its error. */
_Noreturn void bench_fail(const char *why);

/* Zeroed memory of its own mapping, or bench_fail. */
void *bench_memory(size_t bytes);

/* The compiler knows nothing about the value, and memory may have changed. */
#define bench_hide(value) __asm__ volatile("" : "+r"(value) : : "memory")

/* Pseudo-random numbers (xorshift64*); the state must not be 0. */
static inline uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dULL;
}

/* One step of the checksum. */
static inline uint64_t bench_mix(uint64_t sum, uint64_t value)
{
    sum ^= value;
    sum *= 0x9e3779b97f4a7c15ULL;
    return sum ^ (sum >> 29);
}

static inline uint64_t bench_mix_bytes(uint64_t sum, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; ++i)
        sum = (sum ^ at[i]) * 0x100000001b3ULL;
    return sum;
}

static inline uint64_t bench_mix_double(uint64_t sum, double value)
{
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bench_mix(sum, bits);
}

#endif
