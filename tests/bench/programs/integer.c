/* Integer programs: loops, calls, tables, arithmetic. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

uint64_t run_sieve(struct bench *b)
{
    enum { limit = 1 << 20 };
    unsigned char *composite = bench_memory(limit);
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        memset(composite, 0, limit);
        for (uint32_t i = 2; i * i < limit; ++i)
            if (!composite[i])
                for (uint32_t k = i * i; k < limit; k += i)
                    composite[k] = 1;
        uint32_t primes = 0;
        for (uint32_t i = 2; i < limit; ++i)
            primes += !composite[i];
        sum = bench_mix(sum, primes);
    }
    bench_stop(b);
    return sum;
}

static int by_value(const void *one, const void *other)
{
    int32_t x = *(const int32_t *)one, y = *(const int32_t *)other;
    return (x > y) - (x < y);
}

uint64_t run_qsort(struct bench *b)
{
    enum { size = 100000 };
    int32_t *values = bench_memory(size * sizeof *values);
    uint64_t state = 42, sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int i = 0; i < size; ++i)
            values[i] = (int32_t)bench_random(&state);
        qsort(values, size, sizeof *values, by_value);
        for (int i = 0; i < size; i += 97)
            sum = bench_mix(sum, (uint32_t)values[i]);
    }
    bench_stop(b);
    return sum;
}

static uint32_t __attribute__((noinline)) fibonacci(uint32_t n)
{
    bench_hide(n); /* or the compiler unrolls the recursion */
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

uint64_t run_calls(struct bench *b)
{
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        sum = bench_mix(sum, fibonacci(28 + (round & 1)));
    bench_stop(b);
    return sum;
}

/* 64 functions to call and, in a switch, 64 places to jump to. */
#define TARGET(n)                                                                                  \
    static uint64_t __attribute__((noinline)) target_##n(uint64_t x)                               \
    {                                                                                              \
        return (x ^ 0x##n##5) * 0x##n##1 + (x >> 7);                                               \
    }
#define EIGHT(m, x) m(x##0) m(x##1) m(x##2) m(x##3) m(x##4) m(x##5) m(x##6) m(x##7)
#define ALL(m) EIGHT(m, 1) EIGHT(m, 2) EIGHT(m, 3) EIGHT(m, 4) EIGHT(m, 5) EIGHT(m, 6) EIGHT(m, 7) EIGHT(m, 8)
ALL(TARGET)
#define NAME(n) target_##n,
static uint64_t (*const targets[64])(uint64_t) = {ALL(NAME)};

uint64_t run_indirect(struct bench *b)
{
#define PLACE(n) &&place_##n,
    static const void *const places[64] = {ALL(PLACE)};
    uint64_t state = 7, sum = 1;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        uint64_t x = round;
        for (int i = 0; i < 25000; ++i) {
            uint64_t which = bench_random(&state);
            x = targets[(which >> 20) & 63](x);
            goto *places[(which >> 40) & 63];
#define LABEL(n)                                                                                   \
    place_##n:                                                                                     \
        x += 0x##n##3 ^ (x << 5);                                                                  \
        bench_hide(x);                                                                             \
        goto next;
            ALL(LABEL)
        next:;
        }
        sum = bench_mix(sum, x);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_muldiv(struct bench *b)
{
    uint64_t state = 99, sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        uint64_t low = 0, high = 0;
        for (int i = 0; i < 40000; ++i) {
            uint64_t x = bench_random(&state), y = bench_random(&state) | 1;
            unsigned __int128 product = (unsigned __int128)x * y;
            low ^= (uint64_t)product;
            high += (uint64_t)(product >> 64);
            low += x / (y >> 33 | 1);
            high ^= (uint64_t)((int64_t)x % (int64_t)(y | 1));
            low += (uint32_t)x / ((uint32_t)y | 1);
            high += (uint32_t)((int32_t)x >> 3) * (uint32_t)y;
            /* 128 by 64 bits; the upper half is below the divisor, so the quotient fits. */
            uint64_t upper = x % y, rest = low, quotient;
            __asm__("divq %2" : "=a"(quotient), "+d"(upper) : "r"(y), "0"(rest) : "cc");
            low ^= quotient + upper;
        }
        sum = bench_mix(bench_mix(sum, low), high);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_flags(struct bench *b)
{
    enum { words = 64 };
    uint64_t state = 3, sum = 0, x[words], y[words];
    for (int i = 0; i < words; ++i) {
        x[i] = bench_random(&state);
        y[i] = bench_random(&state);
    }
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int pass = 0; pass < 1500; ++pass) {
            /* x += y in 4,096 bits: dec leaves the carry alone. */
            uint64_t *to = x;
            const uint64_t *from = y;
            uint64_t left = words, value;
            __asm__ volatile("clc\n"
                             "1: movq (%1), %3\n\t"
                             "adcq %3, (%0)\n\t"
                             "leaq 8(%0), %0\n\t"
                             "leaq 8(%1), %1\n\t"
                             "decq %2\n\t"
                             "jnz 1b"
                             : "+r"(to), "+r"(from), "+r"(left), "=&r"(value)
                             :
                             : "cc", "memory");
            uint64_t a = x[pass & 63], c = y[(pass * 7) & 63], set;
            __asm__ volatile("cmpq %1, %0\n\t"
                             "setg %%cl\n\t"
                             "movzbl %%cl, %%ecx\n\t"
                             "cmovbq %1, %0\n\t"
                             "rclq $3, %0\n\t"
                             "rcrq $1, %1\n\t"
                             "btsq $17, %0\n\t"
                             "sbbq %%rcx, %1\n\t"
                             "bsrq %0, %0"
                             : "+&r"(a), "+&r"(c), "=&c"(set)
                             :
                             : "cc");
            y[pass & 63] = c + a + set;
        }
        sum = bench_mix(sum, x[round & 63]);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_chase(struct bench *b)
{
    enum { nodes = 65536 }; /* of 64 bytes */
    struct node {
        struct node *next;
        uint64_t value, unused[6];
    } *node = bench_memory(nodes * sizeof *node);
    uint32_t *order = bench_memory(nodes * sizeof *order);
    uint64_t state = 5, sum = 0;
    for (uint32_t i = 0; i < nodes; ++i)
        order[i] = i;
    for (uint32_t i = nodes - 1; i > 0; --i) {
        uint32_t k = (uint32_t)(bench_random(&state) % (i + 1)), kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
    for (uint32_t i = 0; i < nodes; ++i) {
        node[order[i]].next = &node[order[(i + 1) % nodes]];
        node[order[i]].value = i;
    }
    const struct node *at = node;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (uint32_t i = 0; i < 100000; ++i) {
            sum += at->value;
            at = at->next;
        }
        sum = bench_mix(sum, at->value);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_hash(struct bench *b)
{
    enum { slots = 1 << 16 };
    struct slot {
        uint64_t key, value;
    } *table = bench_memory(slots * sizeof *table);
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        uint64_t state = round + 1;
        memset(table, 0, slots * sizeof *table);
        for (int i = 0; i < 120000; ++i) {
            uint64_t key = (bench_random(&state) >> 33) % 40000 + 1;
            uint64_t at = (key * 0x9e3779b97f4a7c15ULL) >> 48;
            while (table[at].key != key && table[at].key != 0)
                at = (at + 1) % slots;
            table[at].key = key;
            table[at].value += (uint64_t)i;
        }
        for (int i = 0; i < slots; i += 13)
            sum = bench_mix(sum, table[i].value);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_atomics(struct bench *b)
{
    uint64_t cells[8] = {0}, sum = 0, *cell = cells;
    bench_hide(cell);
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (uint64_t i = 0; i < 40000; ++i) {
            uint64_t old = __atomic_fetch_add(&cell[i & 7], i, __ATOMIC_SEQ_CST);
            __atomic_fetch_or(&cell[(i + 1) & 7], 1, __ATOMIC_SEQ_CST);
            sum += __atomic_exchange_n(&cell[(i + 2) & 7], old, __ATOMIC_SEQ_CST);
            uint64_t expected = i & 1 ? cell[3] : old ^ 1;
            __atomic_compare_exchange_n(&cell[3], &expected, sum, 0, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST);
            __atomic_sub_fetch((uint32_t *)&cell[4], 3, __ATOMIC_SEQ_CST);
        }
    }
    bench_stop(b);
    for (int i = 0; i < 8; ++i)
        sum = bench_mix(sum, cells[i]);
    return sum;
}
