/* Code that changes while it runs. x86 needs no flush: the next branch sees the new bytes. */
#define _GNU_SOURCE
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

static unsigned char *code_memory(size_t bytes)
{
    void *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
    if (made == MAP_FAILED)
        bench_fail("no memory that is writable and executable");
    return made;
}

typedef uint64_t function(uint64_t);

/* The function at an address. */
static function *at(const void *code)
{
    function *made;
    memcpy(&made, &code, sizeof made);
    bench_hide(made);
    return made;
}

uint64_t run_smcpatch(struct bench *b)
{
    static const unsigned char add[] = {
        0x48, 0x8d, 0x87, 0, 0, 0, 0, /* lea IMMEDIATE(%rdi), %rax */
        0xc3,                         /* ret */
    };
    unsigned char *code = code_memory(4096);
    memcpy(code, add, sizeof add);
    function *call = at(code);
    uint64_t sum = 1;
    bench_start(b);
    for (uint64_t i = 0; i < b->count * 1000; ++i) {
        uint32_t immediate = (uint32_t)(i * 2654435761u) >> 1;
        memcpy(code + 3, &immediate, sizeof immediate);
        sum = bench_mix(call(sum), i);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_smcjit(struct bench *b)
{
    enum { bytes = 4096 };
    unsigned char *code = code_memory(2 * bytes);
    uint64_t state = 61, sum = 1;
    bench_start(b);
    for (uint64_t round = 0; round < b->count * 5; ++round) {
        unsigned char *end = code, *limit = code + bytes - 16;
        memcpy(end, (const unsigned char[]){0x48, 0x89, 0xf8}, 3); /* mov %rdi, %rax */
        end += 3;
        while (end < limit) {
            uint64_t random = bench_random(&state);
            uint32_t immediate = (uint32_t)random;
            switch (random >> 62) {
            case 0: memcpy(end, (const unsigned char[]){0x48, 0x05}, 2); end += 2; break; /* add */
            case 1: memcpy(end, (const unsigned char[]){0x48, 0x35}, 2); end += 2; break; /* xor */
            case 2: /* imul $immediate, %rax, %rax */
                memcpy(end, (const unsigned char[]){0x48, 0x69, 0xc0}, 3);
                end += 3;
                immediate |= 1;
                break;
            default: /* test %rax, %rax; js over the next instruction; sub $immediate, %rax */
                memcpy(end, (const unsigned char[]){0x48, 0x85, 0xc0, 0x78, 6, 0x48, 0x2d}, 7);
                end += 7;
                break;
            }
            memcpy(end, &immediate, sizeof immediate);
            end += sizeof immediate;
        }
        *end = 0xc3; /* ret */
        function *call = at(code);
        for (int i = 0; i < 40; ++i)
            sum = call(sum) + 1;
    }
    bench_stop(b);
    return sum;
}

uint64_t run_smcdata(struct bench *b)
{
    /* A counter 512 bytes behind the code that adds to it: data and code share a page. */
    static const unsigned char count[] = {
        0x48, 0x01, 0x3d, 0xf9, 0x01, 0, 0, /* add %rdi, 505(%rip): 0x200 from the start */
        0x48, 0x8b, 0x05, 0xf2, 0x01, 0, 0, /* mov 498(%rip), %rax */
        0xc3,                               /* ret */
    };
    unsigned char *code = code_memory(4096);
    memcpy(code, count, sizeof count);
    function *call = at(code);
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t i = 0; i < b->count * 1000; ++i)
        sum += call(i);
    bench_stop(b);
    return sum;
}
