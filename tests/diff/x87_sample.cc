// x87 code for diff-engines, which runs every block of its own text: what a compiler makes of long double, with operands
// in memory that may fault anywhere in a block. Nothing here is ever called.
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace rhea::target::x86::diff {

extern "C" {

[[gnu::used, gnu::noinline]] long double rhea_sample_sum(const long double *a, std::size_t n) {
    long double sum = 0;
    for (std::size_t i = 0; i < n; i++) {
        sum += a[i];
    }
    return sum;
}

[[gnu::used, gnu::noinline]] void rhea_sample_mix(long double *to, const long double *a, const double *b, const float *c,
                                                  const std::int64_t *d, const std::int32_t *e, const std::int16_t *f) {
    to[0] = a[0] * b[0] + static_cast<long double>(d[0]) / a[1];
    to[1] = a[1] - c[0] * static_cast<long double>(e[0]) + static_cast<long double>(f[0]);
    to[2] = std::fabs(a[2]) - std::sqrt(a[3]);
    to[3] = -a[4] + 1.0L;
}

[[gnu::used, gnu::noinline]] void rhea_sample_narrow(double *b, float *c, std::int64_t *d, std::int32_t *e, std::int16_t *f,
                                                     const long double *a) {
    b[0] = static_cast<double>(a[0] + a[1]);
    c[0] = static_cast<float>(a[0] - a[1]);
    d[0] = static_cast<std::int64_t>(a[2]);
    e[0] = static_cast<std::int32_t>(a[3] * a[4]);
    f[0] = static_cast<std::int16_t>(a[5]);
    d[1] = std::llrint(a[6]);
}

[[gnu::used, gnu::noinline]] long double rhea_sample_compare(const long double *a, const long double *b, std::size_t n) {
    long double best = a[0];
    for (std::size_t i = 0; i < n; i++) {
        best = a[i] < b[i] ? a[i] : best >= b[i] ? b[i] : best;
    }
    return best;
}

/// What compilers do not emit.
[[gnu::used, gnu::noinline]] void rhea_sample_rest(void *at, void *other) {
    asm volatile("fldt (%0)\n\tfldl (%1)\n\tfxch %%st(1)\n\tfcomp %%st(1)\n\tfnstsw %%ax\n\tfistps 4(%0)\n\t"
                 "fldpi\n\tfisttpll 16(%0)\n\tfildll (%1)\n\tfbstp 32(%0)\n\tfbld (%1)\n\tfnstcw 64(%0)\n\t"
                 "fincstp\n\tffree %%st(3)\n\tfdecstp\n\tfucomip %%st(2), %%st\n\tfcmovnbe %%st(1), %%st\n\t"
                 "fldl2e\n\tfscale\n\tf2xm1\n\tfnstsw 66(%0)\n\tfstps 8(%1)\n\tfldcw 64(%0)\n\tfsubrl 8(%1)\n\t"
                 "fiaddl (%0)\n\tficomps (%1)\n\tfxam\n\tfstpt 80(%0)\n\tfnclex\n\tfldt 80(%0)"
                 :
                 : "r"(at), "r"(other)
                 : "memory", "ax", "cc");
    asm volatile("movq (%0), %%mm1\n\tpaddw 8(%1), %%mm1\n\tmovq %%mm1, 16(%0)\n\tfldt (%1)\n\tpaddd %%mm1, %%mm2\n\t"
                 "fstpt (%0)\n\temms"
                 :
                 : "r"(at), "r"(other)
                 : "memory");
}

} // extern "C"

} // namespace rhea::target::x86::diff
