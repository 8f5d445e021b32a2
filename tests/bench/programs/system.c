/* What the guest's kernel does for a program. */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t run_syscall(struct bench *b)
{
    uint64_t good = 0;
    long self = getpid();
    bench_start(b);
    for (uint64_t i = 0; i < b->count * 1000; ++i)
        good += syscall(SYS_getpid) == self;
    bench_stop(b);
    return good;
}

uint64_t run_pagefault(struct bench *b)
{
    enum { bytes = 1 << 20, page = 4096 };
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t round = 0; round < b->count; ++round) {
        unsigned char *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                                   -1, 0);
        if (made == MAP_FAILED)
            bench_fail("mmap failed");
        madvise(made, bytes, MADV_NOHUGEPAGE);
        for (int i = 0; i < bytes; i += page) {
            sum += made[i + 7];
            made[i] = (unsigned char)i;
            sum += made[i] + 1u;
        }
        munmap(made, bytes);
    }
    bench_stop(b);
    return sum;
}

static uint64_t wait_for(pid_t child)
{
    int status = -1;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        bench_fail("a child process did not end well");
    return (uint64_t)WEXITSTATUS(status);
}

uint64_t run_fork(struct bench *b)
{
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t i = 0; i < b->count; ++i) {
        pid_t child = fork();
        if (child == 0)
            _exit((int)(i & 63) + 1);
        sum = bench_mix(sum, wait_for(child));
    }
    bench_stop(b);
    return sum;
}

static pid_t start_nothing(const char *self)
{
    pid_t child = vfork();
    if (child == 0) {
        execl(self, self, "--nothing", (char *)NULL);
        _exit(127);
    }
    return child;
}

uint64_t run_exec(struct bench *b)
{
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t i = 0; i < b->count; ++i) {
        uint64_t status = wait_for(start_nothing(b->self));
        if (status != 0)
            bench_fail("exec failed");
        sum = bench_mix(sum, i);
    }
    bench_stop(b);
    return sum;
}

uint64_t run_pipe(struct bench *b)
{
    int to[2], from[2];
    if (pipe(to) != 0 || pipe(from) != 0)
        bench_fail("pipe failed");
    pid_t child = fork();
    unsigned char byte = 1;
    if (child == 0) {
        close(to[1]);
        while (read(to[0], &byte, 1) == 1) {
            byte = (unsigned char)(byte * 5 + 1);
            if (write(from[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    uint64_t sum = 0;
    bench_start(b);
    for (uint64_t i = 0; i < b->count * 50; ++i) {
        if (write(to[1], &byte, 1) != 1 || read(from[0], &byte, 1) != 1)
            bench_fail("the pipe broke");
        sum = bench_mix(sum, byte);
    }
    bench_stop(b);
    close(to[1]);
    wait_for(child);
    return sum;
}

uint64_t run_file(struct bench *b)
{
    char name[] = "/tmp/bench-XXXXXX", block[4096];
    int made = mkstemp(name);
    if (made < 0)
        bench_fail("no file in /tmp");
    uint64_t state = 51, sum = 0;
    for (int i = 0; i < 4096; ++i)
        block[i] = (char)(bench_random(&state) >> 40);
    if (write(made, block, sizeof block) != sizeof block)
        bench_fail("cannot write the file");
    close(made);
    bench_start(b);
    for (uint64_t i = 0; i < b->count * 50; ++i) {
        int file = open(name, O_RDONLY);
        if (file < 0 || read(file, block, sizeof block) != sizeof block)
            bench_fail("cannot read the file");
        close(file);
        sum = bench_mix(sum, (unsigned char)block[i % sizeof block]);
    }
    bench_stop(b);
    unlink(name);
    return sum;
}
