/* Floating point. Nothing is contracted or reordered, so results are equal to the last bit. */
#include "bench.h"

static double square_root(double x)
{
    __asm__("sqrtsd %0, %0" : "+x"(x));
    return x;
}

uint64_t run_scalar(struct bench *b)
{
    double x = 1.5, y = 0.25, z = 3.0;
    uint64_t above = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 1; i <= 40000; ++i) {
            x = x * 0.99 + y / (z + 1.0);
            y = square_root(x * x + z) - y * 0.5;
            z = z * 0.75 + (double)i * 1e-5;
            if (x > y)
                ++above;
            else
                z -= 0.125;
        }
    bench_stop(b);
    return bench_mix_double(bench_mix_double(bench_mix_double(above, x), y), z);
}

uint64_t run_matmul(struct bench *b)
{
    enum { n = 192 };
    double(*x)[n] = bench_memory(3 * sizeof(double[n][n])), (*y)[n] = x + n, (*z)[n] = y + n;
    uint64_t sum = 0;
    for (int i = 0; i < n; ++i)
        for (int k = 0; k < n; ++k) {
            x[i][k] = (i * 3 + k) % 17 - 8.5;
            y[i][k] = (i + k * 5) % 13 * 0.125;
        }
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int i = 0; i < n; ++i)
            for (int k = 0; k < n; ++k)
                z[i][k] = 0;
        for (int i = 0; i < n; ++i)
            for (int m = 0; m < n; ++m)
                for (int k = 0; k < n; ++k)
                    z[i][k] += x[i][m] * y[m][k];
        x[round % n][0] += z[5][round % n] * 1e-6;
    }
    bench_stop(b);
    for (int i = 0; i < n; ++i)
        sum = bench_mix_double(sum, z[i][(i * 7) % n]);
    return sum;
}

uint64_t run_x87(struct bench *b)
{
    long double x = 1.25L, y = 0.5L, z = 2.0L;
    uint64_t above = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 1; i <= 10000; ++i) {
            x = x * 0.9375L + y / (z + 1.0L);
            long double square = x * x + z * z;
            __asm__("fsqrt" : "+t"(square));
            y = square - y * 0.75L;
            z = z * 0.5L + (long double)i / 65536;
            if (x > y)
                ++above;
            above += (uint64_t)(int64_t)(z * 4);
        }
    bench_stop(b);
    return bench_mix_double(bench_mix_double(bench_mix_double(above, (double)x), (double)y),
                            (double)z);
}

uint64_t run_convert(struct bench *b)
{
    uint64_t state = 21, sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        uint64_t kept = 0;
        for (int i = 0; i < 40000; ++i) {
            int64_t wide = (int64_t)bench_random(&state) >> 12;
            int32_t narrow = (int32_t)wide;
            double x = (double)wide * 0.001, y = (double)narrow;
            float single = (float)x + (float)narrow;
            kept += (uint64_t)(int64_t)x + (uint32_t)(int32_t)(y * 0.5);
            kept ^= (uint64_t)(int64_t)(single * 0.25f);
            kept += (uint64_t)(int64_t)((double)single + y);
        }
        sum = bench_mix(sum, kept);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_mandelbrot(struct bench *b)
{
    enum { size = 200, limit = 120 };
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int row = 0; row < size; ++row) {
            uint64_t steps = 0;
            for (int column = 0; column < size; ++column) {
                double cr = column * (3.0 / size) - 2.25, ci = row * (2.5 / size) - 1.25;
                double zr = 0, zi = 0, rr = 0, ii = 0;
                int step = 0;
                while (step < limit && rr + ii < 4.0) {
                    zi = 2 * zr * zi + ci;
                    zr = rr - ii + cr;
                    rr = zr * zr;
                    ii = zi * zi;
                    ++step;
                }
                steps += (uint64_t)step;
            }
            sum = bench_mix(sum, steps);
        }
    bench_stop(b);
    return sum;
}

uint64_t run_nbody(struct bench *b)
{
    enum { bodies = 5 };
    double position[bodies][3], velocity[bodies][3], mass[bodies];
    uint64_t sum = 0;
    for (int i = 0; i < bodies; ++i) {
        mass[i] = i ? 0.01 * i : 40.0;
        for (int k = 0; k < 3; ++k) {
            position[i][k] = i * (3.0 + k) - (i & 1) * 9.0 * k;
            velocity[i][k] = i ? (k - 1) * 1.5 / i : 0.0;
        }
    }
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int step = 0; step < 1000; ++step) {
            for (int i = 0; i < bodies; ++i)
                for (int j = i + 1; j < bodies; ++j) {
                    double d[3], square = 0.01;
                    for (int k = 0; k < 3; ++k) {
                        d[k] = position[i][k] - position[j][k];
                        square += d[k] * d[k];
                    }
                    double strength = 0.001 / (square * square_root(square));
                    for (int k = 0; k < 3; ++k) {
                        velocity[i][k] -= d[k] * mass[j] * strength;
                        velocity[j][k] += d[k] * mass[i] * strength;
                    }
                }
            for (int i = 0; i < bodies; ++i)
                for (int k = 0; k < 3; ++k)
                    position[i][k] += 0.001 * velocity[i][k];
        }
    bench_stop(b);
    for (int i = 0; i < bodies; ++i)
        for (int k = 0; k < 3; ++k)
            sum = bench_mix_double(sum, position[i][k]);
    return sum;
}

uint64_t run_fft(struct bench *b)
{
    enum { bits = 11, n = 1 << bits };
    double *re = bench_memory(4 * n * sizeof *re), *im = re + n, *wr = im + n, *wi = wr + n;
    /* exp(-2*pi*i/n) by halving the angle pi, then its powers: no libm. */
    double cosine = -1, sine = 0;
    for (int i = 1; i < bits; ++i) {
        double half = square_root((1 + cosine) / 2);
        sine = i == 1 ? 1 : sine / (2 * half);
        cosine = i == 1 ? 0 : half;
    }
    wr[0] = 1;
    for (int i = 1; i < n / 2; ++i) {
        wr[i] = wr[i - 1] * cosine + wi[i - 1] * sine;
        wi[i] = wi[i - 1] * cosine - wr[i - 1] * sine;
    }
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        for (int i = 0; i < n; ++i) {
            int reversed = 0;
            for (int bit = 0; bit < bits; ++bit)
                reversed |= (i >> bit & 1) << (bits - 1 - bit);
            re[reversed] = ((i * 37 + (int)round) % 101) * 0.03125 - 1.5;
            im[reversed] = 0;
        }
        for (int size = 2; size <= n; size *= 2)
            for (int start = 0; start < n; start += size)
                for (int k = 0, half = size / 2; k < half; ++k) {
                    int one = start + k, other = one + half, w = k * (n / size);
                    double tr = re[other] * wr[w] - im[other] * wi[w];
                    double ti = re[other] * wi[w] + im[other] * wr[w];
                    re[other] = re[one] - tr;
                    im[other] = im[one] - ti;
                    re[one] += tr;
                    im[one] += ti;
                }
        sum = bench_mix_double(bench_mix_double(sum, re[round % n]), im[7]);
    }
    bench_stop(b);
    return sum;
}
