/* Instructions beyond baseline x86-64; programs.def names the CPU features. */
#include "bench.h"

#include <immintrin.h>

enum { size = 16384 };

static void *filled(uint64_t seed)
{
    uint64_t *made = bench_memory(size);
    for (int i = 0; i < size / 8; ++i)
        made[i] = bench_random(&seed);
    return made;
}

__attribute__((target("sse4.1"))) uint64_t run_sse41(struct bench *b)
{
    __m128i *x = filled(41), *y = filled(42), sum = _mm_setzero_si128();
    __m128 dots = _mm_setzero_ps();
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int pass = 0; pass < 10; ++pass)
            for (int i = 0; i < size / 16; ++i) {
                __m128i a = x[i], c = y[i];
                __m128i turned = _mm_shuffle_epi8(a, c);
                turned = _mm_alignr_epi8(turned, a, 5);
                turned = _mm_add_epi16(turned, _mm_maddubs_epi16(a, c));
                turned = _mm_blendv_epi8(turned, _mm_abs_epi8(c), a);
                turned = _mm_max_epi32(turned, _mm_min_epu16(a, c));
                turned = _mm_add_epi32(turned, _mm_mullo_epi32(a, _mm_cvtepu8_epi32(c)));
                __m128 floats = _mm_cvtepi32_ps(_mm_cvtepi16_epi32(turned));
                dots = _mm_add_ps(_mm_mul_ps(dots, _mm_set1_ps(0.5f)),
                                  _mm_dp_ps(_mm_round_ps(floats, 0), floats, 0xf1));
                sum = _mm_add_epi64(sum, _mm_hadd_epi16(turned, c));
                sum = _mm_insert_epi32(sum, _mm_extract_epi16(turned, 3), 2);
                sum = _mm_xor_si128(sum, _mm_cvtsi32_si128(_mm_testz_si128(turned, c)));
                x[i] = turned;
            }
    bench_stop(b);
    return bench_mix_bytes(bench_mix_bytes(0, &sum, sizeof sum), &dots, sizeof dots);
}

__attribute__((target("sse4.2,popcnt"))) uint64_t run_popcnt(struct bench *b)
{
    uint64_t *x = filled(43), crc = 0, bits = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int pass = 0; pass < 10; ++pass)
            for (int i = 0; i < size / 8; ++i) {
                crc = _mm_crc32_u64(crc, x[i] + (uint64_t)pass);
                crc = _mm_crc32_u8((uint32_t)crc, (unsigned char)round);
                bits += (uint64_t)_mm_popcnt_u64(x[i] ^ crc) + (unsigned)_mm_popcnt_u32((uint32_t)crc);
            }
    bench_stop(b);
    return bench_mix(crc, bits);
}

__attribute__((target("avx2"))) uint64_t run_avx2int(struct bench *b)
{
    __m256i *x = filled(44), *y = filled(45), sum = _mm256_setzero_si256();
    const int *table = filled(46);
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int pass = 0; pass < 10; ++pass)
            for (int i = 0; i < size / 32; ++i) {
                __m256i a = x[i], c = y[i];
                __m256i chosen = _mm256_blendv_epi8(c, a, _mm256_cmpgt_epi16(a, c));
                chosen = _mm256_adds_epu8(chosen, _mm256_avg_epu8(a, c));
                __m256i product = _mm256_add_epi16(_mm256_mullo_epi16(a, c),
                                                   _mm256_mulhi_epi16(a, chosen));
                product = _mm256_add_epi32(product, _mm256_madd_epi16(chosen, c));
                __m256i mixed = _mm256_unpacklo_epi8(product, _mm256_shuffle_epi32(chosen, 0x1b));
                mixed = _mm256_packus_epi16(_mm256_srli_epi16(mixed, 3), product);
                mixed = _mm256_shuffle_epi8(_mm256_min_epu8(mixed, a), c);
                mixed = _mm256_sllv_epi32(mixed, _mm256_and_si256(a, _mm256_set1_epi32(7)));
                __m256i where = _mm256_and_si256(mixed, _mm256_set1_epi32(size / 4 - 1));
                mixed = _mm256_xor_si256(mixed, _mm256_i32gather_epi32(table, where, 4));
                sum = _mm256_add_epi64(sum, _mm256_sad_epu8(mixed, c));
                sum = _mm256_permute4x64_epi64(sum, 0x93);
                sum = _mm256_xor_si256(sum, _mm256_set1_epi32(_mm256_movemask_epi8(mixed)));
                x[i] = _mm256_permutevar8x32_epi32(_mm256_sub_epi8(product, mixed), c);
            }
    bench_stop(b);
    return bench_mix_bytes(bench_mix_bytes(0, &sum, sizeof sum), x, 4096);
}

__attribute__((target("avx2"))) uint64_t run_avx2float(struct bench *b)
{
    __m256 x = _mm256_setr_ps(1, 2, 3, 4, 5, 6, 7, 8), y = _mm256_set1_ps(0.5f);
    __m256 total = _mm256_setzero_ps();
    __m256d v = _mm256_setr_pd(1.25, 2.5, 3.75, 5), w = _mm256_set1_pd(0.75);
    __m256d whole = _mm256_setzero_pd();
    int signs = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 10000; ++i) {
            x = _mm256_add_ps(_mm256_mul_ps(x, y), _mm256_set1_ps(0.25f));
            y = _mm256_div_ps(_mm256_add_ps(y, x), _mm256_set1_ps(3.0f));
            total = _mm256_add_ps(total, _mm256_max_ps(_mm256_permute_ps(x, 0x93),
                                                       _mm256_sqrt_ps(x)));
            total = _mm256_mul_ps(total, _mm256_set1_ps(0.875f));
            v = _mm256_add_pd(_mm256_mul_pd(v, w), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
            w = _mm256_sub_pd(_mm256_set1_pd(1.5), _mm256_div_pd(w, _mm256_set1_pd(4.0)));
            whole = _mm256_add_pd(_mm256_mul_pd(whole, _mm256_set1_pd(0.5)),
                                  _mm256_and_pd(v, _mm256_cmp_pd(w, v, _CMP_LT_OQ)));
            v = _mm256_mul_pd(_mm256_permute2f128_pd(v, w, 0x21), _mm256_set1_pd(0.5));
            signs += _mm256_movemask_ps(_mm256_cmp_ps(total, x, _CMP_GT_OQ));
        }
    bench_stop(b);
    uint64_t sum = bench_mix_bytes((uint64_t)signs, &total, sizeof total);
    return bench_mix_bytes(bench_mix_bytes(sum, &whole, sizeof whole), &y, sizeof y);
}

__attribute__((target("avx2,fma"))) uint64_t run_fma(struct bench *b)
{
    __m256d x = _mm256_setr_pd(1.25, 2.5, 3.75, 5), y = _mm256_set1_pd(0.3);
    __m256 z = _mm256_setr_ps(1, 2, 3, 4, 5, 6, 7, 8);
    __m128d single = _mm_set_sd(0.7);
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 10000; ++i) {
            x = _mm256_fmadd_pd(x, y, _mm256_set1_pd(0.1));
            y = _mm256_fnmadd_pd(x, _mm256_set1_pd(0.2), y);
            y = _mm256_fmsub_pd(y, _mm256_set1_pd(0.5), x);
            z = _mm256_fmaddsub_ps(z, _mm256_set1_ps(0.4f), _mm256_set1_ps(0.6f));
            single = _mm_fmadd_sd(single, _mm_set_sd(0.9), _mm256_castpd256_pd128(x));
        }
    bench_stop(b);
    uint64_t sum = bench_mix_bytes(0, &x, sizeof x);
    sum = bench_mix_bytes(sum, &y, sizeof y);
    return bench_mix_bytes(bench_mix_bytes(sum, &z, sizeof z), &single, sizeof single);
}

__attribute__((target("bmi,bmi2"))) uint64_t run_bmi2(struct bench *b)
{
    uint64_t *x = filled(47), sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int pass = 0; pass < 5; ++pass)
            for (int i = 0; i < size / 8; ++i) {
                uint64_t a = x[i], c = sum | 1;
                unsigned long long high;
                sum += _mulx_u64(a, c, &high) + high;
                sum ^= _pdep_u64(a, c) + _pext_u64(c, a);
                sum += a << (c & 63) ^ a >> (sum & 63);
                sum ^= (a >> 17 | a << 47) + (~a & c) + _tzcnt_u64(a) + _blsr_u64(c) + _bzhi_u64(a, i & 63);
            }
    bench_stop(b);
    return sum;
}
