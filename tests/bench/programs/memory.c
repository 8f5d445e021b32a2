/* Memory and strings: libc's functions, string instructions, alignment. */
#include "bench.h"

#include <emmintrin.h>
#include <string.h>

enum { area = 256 * 1024 };

static unsigned char *filled_area(uint64_t seed)
{
    unsigned char *made = bench_memory(area);
    for (int i = 0; i < area; ++i)
        made[i] = (unsigned char)(bench_random(&seed) >> 32);
    return made;
}

/* Sizes as programs use them: mostly small, some large; then where to. */
static size_t next_size(uint64_t *state)
{
    uint64_t random = bench_random(state);
    unsigned kind = random >> 60;
    if (kind < 10)
        return 1 + (random >> 30) % 64;
    if (kind < 14)
        return 1 + (random >> 30) % 1024;
    return 1 + (random >> 30) % 65536;
}

uint64_t run_memcpy(struct bench *b)
{
    unsigned char *from = filled_area(1), *to = bench_memory(area);
    uint64_t state = 11;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 600; ++i) {
            size_t size = next_size(&state), at = (bench_random(&state) >> 20) % (area - 65536);
            memcpy(to + at, from + (at * 7 + round) % (area - 65536), size);
            bench_hide(to);
        }
    bench_stop(b);
    return bench_mix_bytes(0, to, area);
}

uint64_t run_memset(struct bench *b)
{
    unsigned char *to = bench_memory(area);
    uint64_t state = 12;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 1000; ++i) {
            size_t size = next_size(&state), at = (bench_random(&state) >> 20) % (area - 65536);
            memset(to + at, (int)(size ^ at), size);
            bench_hide(to);
        }
    bench_stop(b);
    return bench_mix_bytes(0, to, area);
}

uint64_t run_memmove(struct bench *b)
{
    unsigned char *data = filled_area(2);
    uint64_t state = 13;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 600; ++i) {
            size_t size = next_size(&state), at = (bench_random(&state) >> 20) % (area - 140000);
            size_t by = 1 + (bench_random(&state) >> 24) % (size + 7);
            if (i & 1)
                memmove(data + at + by, data + at, size);
            else
                memmove(data + at, data + at + by, size);
            bench_hide(data);
        }
    bench_stop(b);
    return bench_mix_bytes(0, data, area);
}

uint64_t run_strings(struct bench *b)
{
    enum { lines = 512, width = 256 };
    char(*line)[width] = bench_memory(lines * width), *to = bench_memory(4096);
    uint64_t state = 14, sum = 0;
    for (int i = 0; i < lines; ++i) {
        size_t length = 4 + (bench_random(&state) >> 30) % (i % 4 ? 40 : 240);
        for (size_t k = 0; k < length; ++k)
            line[i][k] = (char)(k < length / 2 ? 'a' : 'a' + (bench_random(&state) >> 40) % 24);
        line[i][length] = '\0';
    }
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        uint64_t found = round;
        for (int i = 0; i < lines; ++i) {
            char *one = line[i], *other = line[(i * 7 + round) % lines];
            bench_hide(one);
            bench_hide(other);
            size_t length = strlen(one), other_length = strlen(other);
            size_t both = length < other_length ? length : other_length;
            found += length + (strcmp(one, other) > 0) + (memcmp(one, other, both) < 0) * 2u;
            const char *at = strchr(one, 'q');
            found += at ? (size_t)(at - one) : 1000;
            at = memchr(other, 'x', other_length);
            found += at ? (size_t)(at - other) : 2000;
            at = strrchr(other, 'b');
            found += at ? (size_t)(at - other) : 3000;
            strcpy(to, one);
            strcat(to, other);
            bench_hide(to);
            found += strspn(to, "abcdef") + (strncmp(to, one, length) == 0);
        }
        sum = bench_mix(sum, found);
    }
    bench_stop(b);
    return sum;
}

static void rep_movsb(void *to, const void *from, size_t count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void rep_movsq(void *to, const void *from, size_t count)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void rep_stosb(void *to, unsigned char value, size_t count)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static void rep_stosq(void *to, uint64_t value, size_t count)
{
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

/* Both return the count that is left. */
static size_t repne_scasb(const void *in, unsigned char value, size_t count)
{
    __asm__ volatile("repne scasb" : "+D"(in), "+c"(count) : "a"(value) : "cc", "memory");
    return count;
}

static size_t repe_cmpsb(const void *one, const void *other, size_t count)
{
    __asm__ volatile("repe cmpsb" : "+D"(one), "+S"(other), "+c"(count) : : "cc", "memory");
    return count;
}

uint64_t run_rep(struct bench *b)
{
    unsigned char *from = filled_area(3), *to = bench_memory(area);
    uint64_t state = 15, sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int i = 0; i < 20; ++i) {
            size_t at = (bench_random(&state) >> 20) % (area - 65536);
            size_t small = 1 + (bench_random(&state) >> 20) % 200;
            rep_movsb(to + at, from + at, small);
            rep_movsb(to + at + 300, from + at, 3000 + small);
            rep_movsq(to + at + 3, from + at, 1024 + small);
            rep_stosb(to + at + 7, (unsigned char)i, small * 4);
            rep_stosq(to + at + 64, state, 256 + small);
            sum += repne_scasb(from + at, 0, 512) + repe_cmpsb(from + at, to + at, small + 100);
        }
        sum = bench_mix(sum, to[state % area]);
    }
    bench_stop(b);
    return bench_mix_bytes(sum, to, area);
}

uint64_t run_sse2copy(struct bench *b)
{
    unsigned char *from = filled_area(4), *to = bench_memory(area);
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        const __m128i *source = (const __m128i *)from;
        __m128i *target = (__m128i *)to, salt = _mm_set1_epi32((int)round);
        for (size_t i = 0; i < 4096; i += 4) { /* 64 KiB each, aligned */
            _mm_store_si128(target + i, _mm_load_si128(source + i));
            _mm_store_si128(target + i + 1, _mm_load_si128(source + i + 1));
            _mm_store_si128(target + i + 2, _mm_load_si128(source + i + 2));
            _mm_store_si128(target + i + 3, _mm_xor_si128(_mm_load_si128(source + i + 3), salt));
        }
        for (size_t i = 4096; i < 8192; i += 2) { /* not aligned */
            const void *at = (const unsigned char *)(source + i) + 5;
            void *into = (unsigned char *)(target + i) + 11;
            _mm_storeu_si128(into, _mm_loadu_si128(at));
            _mm_storeu_si128((__m128i *)into + 1, _mm_loadu_si128((const __m128i *)at + 1));
        }
        for (size_t i = 9000; i < 13096; i += 2) { /* past the cache */
            _mm_stream_si128(target + i, _mm_load_si128(source + i));
            _mm_stream_si128(target + i + 1, _mm_xor_si128(_mm_load_si128(source + i + 1), salt));
        }
        _mm_sfence();
        bench_hide(to);
    }
    bench_stop(b);
    return bench_mix_bytes(0, to, area);
}

uint64_t run_unaligned(struct bench *b)
{
    unsigned char *data = filled_area(5);
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (size_t at = 1; at + 64 < area; at += 61) { /* all alignments */
            uint64_t wide;
            uint32_t half;
            uint16_t quarter;
            memcpy(&wide, data + at, 8);
            memcpy(&half, data + at + 9, 4);
            memcpy(&quarter, data + at + 15, 2);
            wide += half ^ quarter;
            memcpy(data + at + 3, &wide, 8);
            memcpy(data + at + 21, &half, 4);
            sum += wide;
        }
        for (int repeat = 0; repeat < 40; ++repeat)
            for (size_t page = 4096; page < area; page += 4096) { /* across each page's end */
                uint64_t wide;
                memcpy(&wide, data + page - 3, 8);
                wide = wide * 5 + repeat;
                memcpy(data + page - 5, &wide, 8);
                sum ^= wide;
            }
        sum = bench_mix(sum, round);
    }
    bench_stop(b);
    return bench_mix_bytes(sum, data, area);
}

uint64_t run_pages(struct bench *b)
{
    enum { bytes = 64 << 20 };
    unsigned char *data = bench_memory(bytes);
    uint64_t state = 16, sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int i = 0; i < 100000; ++i) {
            uint64_t random = bench_random(&state);
            unsigned char *at = data + (random >> 20) % bytes;
            sum += *at;
            *at = (unsigned char)(random >> 56);
        }
        sum = bench_mix(sum, round);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_aliases(struct bench *b)
{
    enum { apart = 16 << 20, words = 4096 };
    unsigned char *area = bench_memory(3 * (size_t)apart);
    uint64_t *x = (uint64_t *)area, *y = (uint64_t *)(area + apart);
    uint64_t *z = (uint64_t *)(area + 2 * (size_t)apart), state = 17, sum = 0;
    for (int i = 0; i < words; ++i) {
        x[i] = bench_random(&state);
        y[i] = bench_random(&state);
    }
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int i = 0; i < words; ++i) {
            z[i] = z[i] * 3 + (x[i] ^ y[i]);
            bench_hide(z);
        }
        sum = bench_mix(sum, z[round % words]);
    }
    bench_stop(b);
    return sum;
}
