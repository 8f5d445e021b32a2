/* What the modes of the guest with a disk share: main.c finds the disk, the modes use it. */
#ifndef DISK_H
#define DISK_H

#include <stdint.h>

struct disk {
    int fd;             /* /dev/vda, O_DIRECT */
    uint64_t bytes;     /* its size */
    const char *words;  /* the kernel's command line */
};

/* One line on the console in one write. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* Says "disk: <why>: <the error's sentence>" and turns the machine off. */
_Noreturn void give_up(const char *why);

uint64_t now(void); /* nanoseconds, CLOCK_MONOTONIC */

/* The value of a word "name=value" on the command line, or what it is otherwise; valid until the next call but seven. */
const char *boot_option(const struct disk *disk, const char *name, const char *otherwise);

/* Zeroed, aligned for O_DIRECT. */
void *page_memory(uint64_t bytes);

/* Pseudo-random numbers (xorshift64*); the state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dULL;
}

void run_loads(const struct disk *disk);   /* loads.c */
void run_records(const struct disk *disk); /* records.c */

#endif
