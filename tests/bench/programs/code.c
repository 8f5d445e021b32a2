/* Programs whose code is what matters: an interpreter, and 2,000 functions. */
#include "bench.h"

/* A machine with eight registers; an instruction is op, a, b, c in a byte each. */
enum op { op_add, op_sub, op_xor, op_mul, op_shift, op_constant, op_load, op_store, op_loop, op_end };

static uint64_t interpret(const unsigned char (*code)[4], uint64_t *r, uint64_t *memory)
{
    static const void *const handlers[] = {&&add,      &&sub,  &&xor_op, &&mul,  &&shift,
                                           &&constant, &&load, &&store,  &&loop, &&end};
    const unsigned char(*at)[4] = code;
#define NEXT goto *handlers[(*at)[0]]
#define A r[(*at)[1]]
#define B r[(*at)[2]]
#define C r[(*at)[3]]
    NEXT;
add:
    A = B + C;
    ++at;
    NEXT;
sub:
    A = B - C;
    ++at;
    NEXT;
xor_op:
    A = B ^ C;
    ++at;
    NEXT;
mul:
    A = B * C;
    ++at;
    NEXT;
shift:
    A = B >> (*at)[3];
    ++at;
    NEXT;
constant:
    A = (*at)[2] + 256u * (*at)[3];
    ++at;
    NEXT;
load:
    A = memory[B & 255];
    ++at;
    NEXT;
store:
    memory[B & 255] = A;
    ++at;
    NEXT;
loop:
    at = --A ? code + (*at)[2] : at + 1;
    NEXT;
end:
    return r[1];
#undef NEXT
#undef A
#undef B
#undef C
}

uint64_t run_interpreter(struct bench *b)
{
    static const unsigned char code[][4] = {
        {op_constant, 0, 0x10, 0x27}, /* 10,000 times: */
        {op_constant, 2, 13, 0},      {op_constant, 3, 251, 0}, {op_mul, 1, 1, 3},
        {op_add, 1, 1, 2},            {op_shift, 4, 1, 9},      {op_load, 5, 4, 0},
        {op_xor, 5, 5, 1},            {op_add, 5, 5, 0},        {op_store, 5, 4, 0},
        {op_sub, 6, 5, 1},            {op_xor, 1, 1, 6},        {op_loop, 0, 3, 0},
        {op_end, 0, 0, 0},
    };
    static uint64_t memory[256];
    uint64_t registers[8] = {0}, sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        sum = bench_mix(sum, interpret(code, registers, memory));
    bench_stop(b);
    return sum;
}

/* Each function has a few branches and calls nothing; the number makes it differ from its siblings. */
#define FUNCTION(n)                                                                                \
    static uint64_t __attribute__((noinline)) work_##n(uint64_t x, uint64_t *memory)               \
    {                                                                                              \
        x += 1##n;                                                                                 \
        if (x & 4)                                                                                 \
            memory[1##n & 63] ^= x;                                                                \
        else                                                                                       \
            x ^= memory[(1##n >> 3) & 63] + 1##n##ULL * 3;                                         \
        x = x << (1##n % 31 + 1) | x >> (63 - 1##n % 31);                                          \
        return (int64_t)x < 0 ? x - 1##n##7 : x * 5;                                               \
    }
#define TEN(m, n) m(n##0) m(n##1) m(n##2) m(n##3) m(n##4) m(n##5) m(n##6) m(n##7) m(n##8) m(n##9)
#define HUNDRED(m, n)                                                                              \
    TEN(m, n##0) TEN(m, n##1) TEN(m, n##2) TEN(m, n##3) TEN(m, n##4)                               \
    TEN(m, n##5) TEN(m, n##6) TEN(m, n##7) TEN(m, n##8) TEN(m, n##9)
#define THOUSAND(m, n)                                                                             \
    HUNDRED(m, n##0) HUNDRED(m, n##1) HUNDRED(m, n##2) HUNDRED(m, n##3) HUNDRED(m, n##4)           \
    HUNDRED(m, n##5) HUNDRED(m, n##6) HUNDRED(m, n##7) HUNDRED(m, n##8) HUNDRED(m, n##9)
THOUSAND(FUNCTION, 0)
THOUSAND(FUNCTION, 1)
#define ENTRY(n) work_##n,
static uint64_t (*const work[2000])(uint64_t, uint64_t *) = {THOUSAND(ENTRY, 0) THOUSAND(ENTRY, 1)};

uint64_t run_bigcode(struct bench *b)
{
    static uint64_t memory[64];
    uint64_t x = 1;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        for (int i = 0; i < 2000; ++i)
            x = work[i](x, memory);
    bench_stop(b);
    return bench_mix(x, memory[17]);
}

/* A loop in which an instruction lies in two pages. */
uint64_t straddling_loop(uint64_t x, uint64_t count);
__asm__(".pushsection .text.straddle, \"ax\", @progbits\n\t"
        ".balign 4096\n\t"
        ".skip 4096 - 14, 0x90\n"
        "straddling_loop:\n\t"
        "movq %rdi, %rax\n"       /* 3 bytes */
        "1: leaq (%rax,%rsi), %rax\n\t" /* 4 */
        "roll $7, %eax\n\t"       /* 3 */
        "xorl $0x5bd1e995, %eax\n\t" /* 5: across the pages' border, which is behind 4 of them */
        "decq %rsi\n\t"
        "jnz 1b\n\t"
        "ret\n\t"
        ".popsection");

uint64_t run_straddle(struct bench *b)
{
    uint64_t x = 1;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round)
        x = bench_mix(straddling_loop(x, 10000), round);
    bench_stop(b);
    return x;
}
