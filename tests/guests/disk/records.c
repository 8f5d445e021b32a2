/* Writes records until it is killed, and says after each flush that is done what it covers.
 *
 *   disk.seed=N     the sequence of records; the host makes the same one (tests/tools/guest_crash.py)
 *   disk.first=N    the number of the first record
 *
 * A record is a run of 4 KiB blocks at a random place; each of them says the record's number and its own. After some records
 * comes fsync, then the line "disk: flushed N" (all records up to N). Some records are discards; their blocks may hold
 * anything that they held, or zeroes.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BLOCK 4096
#define LONGEST 40

static void fill(unsigned char *to, uint64_t block, uint64_t record)
{
    uint64_t words[2] = {block, record};
    for (unsigned at = 0; at < BLOCK; at += sizeof words)
        memcpy(to + at, words, sizeof words);
}

void run_records(const struct disk *disk)
{
    static const unsigned lengths[8] = {1, 1, 1, 1, 3, 8, 17, LONGEST};
    unsigned char *buffer = page_memory(BLOCK * LONGEST);
    uint64_t blocks = disk->bytes / BLOCK;
    uint64_t random = strtoull(boot_option(disk, "disk.seed", "1"), NULL, 0);
    uint64_t record = strtoull(boot_option(disk, "disk.first", "1"), NULL, 0);
    say("disk: writing from %llu\n", (unsigned long long)record);
    for (;; ++record) {
        /* One number a decision, in this order: the host draws the same ones. */
        uint64_t block = next_random(&random) % blocks;
        uint64_t count = lengths[next_random(&random) >> 61];
        int discard = next_random(&random) >> 60 == 0, flush = next_random(&random) >> 60 == 0;
        if (count > blocks - block)
            count = blocks - block;
        if (discard) {
            uint64_t range[2] = {block * BLOCK, count * BLOCK};
            if (ioctl(disk->fd, BLKDISCARD, range) != 0)
                give_up("discard");
        } else {
            for (uint64_t i = 0; i < count; ++i)
                fill(buffer + i * BLOCK, block + i, record);
            if (pwrite(disk->fd, buffer, count * BLOCK, (off_t)(block * BLOCK)) != (ssize_t)(count * BLOCK))
                give_up("write");
        }
        if (flush) {
            if (fsync(disk->fd) != 0)
                give_up("flush");
            say("disk: flushed %llu\n", (unsigned long long)record);
        }
    }
}
