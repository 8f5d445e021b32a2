/* Timed loads on the disk, past the guest's page cache.
 *
 *   bench.programs=NAME,...   which (rows of `loads` below)
 *   bench.scale=X             multiplies the number of requests
 *
 * Prints what the benchmark's programs do (tests/bench/programs/main.c): "bench NAME begin at=NS", then "bench NAME
 * checksum=HEX ns=N" or "bench NAME error=REASON", and at the end "bench - end at=NS". The checksum is of what was read; of a
 * write, of some of what was written, read back.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { READ, WRITE, SYNC };

struct load {
    const char *name;
    enum kind kind;
    unsigned bytes, depth; /* of a request; how many at a time */
    int random;
    unsigned count;        /* of requests */
};

static const struct load loads[] = {
    {"read-4k-q1", READ, 4096, 1, 1, 4000},      {"read-4k-q16", READ, 4096, 16, 1, 12000},
    {"write-4k-q1", WRITE, 4096, 1, 1, 4000},    {"write-4k-q16", WRITE, 4096, 16, 1, 12000},
    {"read-1m", READ, 1 << 20, 1, 0, 600},       {"write-1m", WRITE, 1 << 20, 1, 0, 400},
    {"read-1m-q4", READ, 1 << 20, 4, 0, 600},    {"write-4k-sync", SYNC, 4096, 1, 1, 400},
};

#define MAX_DEPTH 16
#define SEED 0x9e3779b97f4a7c15ULL

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * 0x9e3779b97f4a7c15ULL;
    return a ^ (a >> 29);
}

/* Where the next request goes. */
static uint64_t next_offset(const struct load *load, uint64_t bytes, uint64_t number, uint64_t *random)
{
    uint64_t places = bytes / load->bytes;
    return (load->random ? next_random(random) % places : number % places) * load->bytes;
}

/* A written block says where it lies, so that writing it again changes nothing. */
static void stamp(uint64_t *block, uint64_t offset)
{
    block[0] = mix(offset, 1);
}

/* Of what a request read; the order in which requests end does not matter. */
static uint64_t digest(const uint64_t *block, uint64_t offset)
{
    return mix(block[0], offset);
}

static const char *run_one_by_one(const struct disk *disk, const struct load *load, uint64_t count, uint64_t *sum)
{
    uint64_t *buffer = page_memory(load->bytes), random = SEED;
    for (uint64_t i = 0; i < count; ++i) {
        uint64_t offset = next_offset(load, disk->bytes, i, &random);
        ssize_t done;
        if (load->kind == READ) {
            done = pread(disk->fd, buffer, load->bytes, (off_t)offset);
            *sum += digest(buffer, offset);
        } else {
            stamp(buffer, offset);
            done = pwrite(disk->fd, buffer, load->bytes, (off_t)offset);
        }
        if (done != (ssize_t)load->bytes)
            return done < 0 ? strerror(errno) : "a short transfer";
        if (load->kind == SYNC && fsync(disk->fd) != 0)
            return strerror(errno);
    }
    return NULL;
}

/* Linux' asynchronous I/O: the C library has no wrappers. */
static const char *run_many(const struct disk *disk, const struct load *load, uint64_t count, uint64_t *sum)
{
    aio_context_t context = 0;
    struct iocb blocks[MAX_DEPTH], *free_blocks[MAX_DEPTH];
    struct io_event events[MAX_DEPTH];
    uint64_t random = SEED, begun = 0, ended = 0;
    unsigned idle = load->depth;
    if (syscall(SYS_io_setup, load->depth, &context) != 0)
        return strerror(errno);
    for (unsigned i = 0; i < load->depth; ++i) {
        memset(&blocks[i], 0, sizeof blocks[i]);
        blocks[i].aio_lio_opcode = load->kind == READ ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
        blocks[i].aio_fildes = (uint32_t)disk->fd;
        blocks[i].aio_buf = (uintptr_t)page_memory(load->bytes);
        blocks[i].aio_nbytes = load->bytes;
        free_blocks[i] = &blocks[i];
    }
    while (ended < count) {
        unsigned starting = 0;
        struct iocb *start[MAX_DEPTH];
        while (idle > 0 && begun < count) {
            struct iocb *block = start[starting++] = free_blocks[--idle];
            block->aio_offset = (int64_t)next_offset(load, disk->bytes, begun++, &random);
            block->aio_data = (uintptr_t)block;
            if (load->kind != READ)
                stamp((uint64_t *)(uintptr_t)block->aio_buf, (uint64_t)block->aio_offset);
        }
        for (unsigned done = 0; done < starting;) {
            long taken = syscall(SYS_io_submit, context, (long)(starting - done), start + done);
            if (taken <= 0)
                return strerror(errno);
            done += (unsigned)taken;
        }
        long got = syscall(SYS_io_getevents, context, 1L, (long)load->depth, events, NULL);
        if (got <= 0)
            return strerror(errno);
        for (long i = 0; i < got; ++i) {
            struct iocb *block = (struct iocb *)(uintptr_t)events[i].data;
            if (events[i].res != (int64_t)load->bytes)
                return events[i].res < 0 ? strerror((int)-events[i].res) : "a short transfer";
            if (load->kind == READ)
                *sum += digest((const uint64_t *)(uintptr_t)block->aio_buf, (uint64_t)block->aio_offset);
            free_blocks[idle++] = block;
            ++ended;
        }
    }
    syscall(SYS_io_destroy, context);
    return NULL;
}

/* The first of the blocks that were written, as they are there now. */
static const char *read_back(const struct disk *disk, const struct load *load, uint64_t count, uint64_t *sum)
{
    uint64_t *buffer = page_memory(load->bytes), random = SEED;
    for (uint64_t i = 0; i < count && i < 32; ++i) {
        uint64_t offset = next_offset(load, disk->bytes, i, &random);
        if (pread(disk->fd, buffer, load->bytes, (off_t)offset) != (ssize_t)load->bytes)
            return "what was written cannot be read";
        if (buffer[0] != mix(offset, 1))
            return "what was written is not there";
        *sum += digest(buffer, offset);
    }
    return NULL;
}

static void run_load(const struct disk *disk, const char *name, double scale)
{
    const struct load *load = NULL;
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; ++i)
        if (strcmp(loads[i].name, name) == 0)
            load = &loads[i];
    if (!load || disk->bytes < load->bytes) {
        say("bench %s error=%s\n", name, load ? "the disk is too small" : "there is no such load");
        return;
    }
    double scaled = load->count * scale;
    uint64_t count = scaled < 1 ? 1 : (uint64_t)scaled, sum = 0, began = now();
    const char *error = load->depth == 1 ? run_one_by_one(disk, load, count, &sum) : run_many(disk, load, count, &sum);
    uint64_t took = now() - began;
    if (!error && load->kind != READ)
        error = read_back(disk, load, count, &sum);
    if (error)
        say("bench %s error=%s\n", name, error);
    else
        say("bench %s checksum=%016llx ns=%llu\n", name, (unsigned long long)sum, (unsigned long long)took);
}

void run_loads(const struct disk *disk)
{
    char names[1024];
    double scale = strtod(boot_option(disk, "bench.scale", "1"), NULL);
    snprintf(names, sizeof names, "%s", boot_option(disk, "bench.programs", ""));
    for (char *rest = names, *name; (name = strsep(&rest, ",")) != NULL;) {
        if (!*name)
            continue;
        say("bench %s begin at=%llu\n", name, (unsigned long long)now());
        run_load(disk, name, scale);
    }
    say("bench - end at=%llu\n", (unsigned long long)now());
}
