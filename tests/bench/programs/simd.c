/* SSE2: what any x86-64 compiler may use. */
#include "bench.h"

#include <emmintrin.h>

enum { vectors = 1024 };

static __m128i *filled(uint64_t seed)
{
    uint64_t *made = bench_memory(vectors * sizeof(__m128i));
    for (int i = 0; i < 2 * vectors; ++i)
        made[i] = bench_random(&seed);
    return (__m128i *)made;
}

uint64_t run_sse2int(struct bench *b)
{
    __m128i *x = filled(31), *y = filled(32), sum = _mm_setzero_si128();
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int pass = 0; pass < 10; ++pass)
            for (int i = 0; i < vectors; ++i) {
                __m128i a = x[i], c = y[i];
                __m128i larger = _mm_cmpgt_epi16(a, c);
                __m128i chosen = _mm_or_si128(_mm_and_si128(larger, a), _mm_andnot_si128(larger, c));
                chosen = _mm_adds_epu8(chosen, _mm_avg_epu8(a, c));
                __m128i product = _mm_add_epi16(_mm_mullo_epi16(a, c), _mm_mulhi_epi16(a, chosen));
                product = _mm_add_epi32(product, _mm_madd_epi16(chosen, c));
                __m128i mixed = _mm_unpacklo_epi8(product, _mm_shuffle_epi32(chosen, 0x1b));
                mixed = _mm_packus_epi16(_mm_srli_epi16(mixed, 3), _mm_slli_epi16(product, 1));
                mixed = _mm_min_epu8(mixed, _mm_shufflelo_epi16(a, 0x4e));
                sum = _mm_add_epi64(sum, _mm_sad_epu8(mixed, c));
                sum = _mm_add_epi64(sum, _mm_mul_epu32(mixed, a));
                sum = _mm_xor_si128(sum, _mm_cvtsi32_si128(_mm_movemask_epi8(mixed)));
                x[i] = _mm_sub_epi8(product, mixed);
            }
    bench_stop(b);
    return bench_mix_bytes(bench_mix_bytes(0, &sum, sizeof sum), x, 4096);
}

uint64_t run_sse2float(struct bench *b)
{
    __m128 x = _mm_setr_ps(1, 2, 3, 4), y = _mm_set1_ps(0.5f), total = _mm_setzero_ps();
    __m128d v = _mm_setr_pd(1.25, 2.5), w = _mm_set1_pd(0.75), whole = _mm_setzero_pd();
    int signs = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 15000; ++i) {
            x = _mm_add_ps(_mm_mul_ps(x, y), _mm_set1_ps(0.25f));
            y = _mm_div_ps(_mm_add_ps(y, x), _mm_set1_ps(3.0f));
            total = _mm_add_ps(total, _mm_max_ps(_mm_shuffle_ps(x, y, 0x93), _mm_sqrt_ps(x)));
            total = _mm_mul_ps(total, _mm_set1_ps(0.875f));
            v = _mm_add_pd(_mm_mul_pd(v, w), _mm_cvtps_pd(x));
            w = _mm_sub_pd(_mm_set1_pd(1.5), _mm_div_pd(w, _mm_set1_pd(4.0)));
            whole = _mm_add_pd(_mm_mul_pd(whole, _mm_set1_pd(0.5)),
                               _mm_and_pd(v, _mm_cmplt_pd(w, v)));
            v = _mm_mul_pd(_mm_unpackhi_pd(v, w), _mm_set1_pd(0.5));
            signs += _mm_movemask_ps(_mm_cmpgt_ps(total, x)) + _mm_cvtsi128_si32(_mm_cvttps_epi32(y));
        }
    bench_stop(b);
    uint64_t sum = bench_mix_bytes((uint64_t)signs, &total, sizeof total);
    return bench_mix_bytes(bench_mix_bytes(sum, &whole, sizeof whole), &y, sizeof y);
}
