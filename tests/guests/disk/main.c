/* The first process of a guest with a virtio disk: loads the drivers in /modules, waits for /dev/vda, runs what the kernel's
 * command line asks for (disk.mode=loads or records), and turns the machine off.
 */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *disk_path = "/dev/vda";

void say(const char *format, ...)
{
    char line[512];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (length >= (int)sizeof line)
        length = sizeof line - 1;
    for (int done = 0; done < length;) {
        ssize_t wrote = write(STDOUT_FILENO, line + done, (size_t)(length - done));
        if (wrote <= 0)
            return;
        done += (int)wrote;
    }
}

void give_up(const char *why)
{
    say("disk: %s: %s\n", why, strerror(errno));
    reboot(RB_POWER_OFF);
    _exit(1);
}

uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void *page_memory(uint64_t bytes)
{
    void *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (made == MAP_FAILED)
        give_up("no memory");
    return made;
}

const char *boot_option(const struct disk *disk, const char *name, const char *otherwise)
{
    static char buffers[8][1024];
    static unsigned turn;
    size_t length = strlen(name);
    for (const char *at = disk->words; (at = strstr(at, name)) != NULL; at += length) {
        if ((at != disk->words && at[-1] != ' ') || at[length] != '=')
            continue;
        char *buffer = buffers[turn++ % 8];
        size_t value = strcspn(at + length + 1, " \n");
        if (value >= sizeof buffers[0])
            value = sizeof buffers[0] - 1;
        memcpy(buffer, at + length + 1, value);
        buffer[value] = '\0';
        return buffer;
    }
    return otherwise;
}

/* The modules named in /modules/order, in that order. One that is there already, or is not for this machine, is no error:
 * whether the disk appears is what counts. */
static void load_modules(void)
{
    FILE *order = fopen("/modules/order", "r");
    char name[128], path[160];
    while (order && fgets(name, sizeof name, order)) {
        name[strcspn(name, "\n")] = '\0';
        snprintf(path, sizeof path, "/modules/%s", name);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            continue;
        syscall(SYS_finit_module, file, "", 0);
        close(file);
    }
    if (order)
        fclose(order);
}

static int open_disk(void)
{
    for (int tries = 0; tries < 1000; ++tries) {
        int fd = open(disk_path, O_RDWR | O_DIRECT | O_CLOEXEC);
        if (fd >= 0 || (errno != ENOENT && errno != ENXIO))
            return fd;
        usleep(10000);
    }
    return -1;
}

int main(void)
{
    static char line[4096];
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    int file = open("/proc/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, line, sizeof line - 1);
    if (file >= 0)
        close(file);
    line[length < 0 ? 0 : length] = '\0';
    load_modules();
    struct disk disk = {.words = line};
    disk.fd = open_disk();
    if (disk.fd < 0)
        give_up(disk_path);
    if (ioctl(disk.fd, BLKGETSIZE64, &disk.bytes) != 0)
        give_up("BLKGETSIZE64");
    const char *mode = boot_option(&disk, "disk.mode", "loads");
    if (strcmp(mode, "loads") == 0)
        run_loads(&disk);
    else if (strcmp(mode, "records") == 0)
        run_records(&disk);
    else
        say("disk: there is no mode '%s'\n", mode);
    reboot(RB_POWER_OFF);
    return 0;
}
