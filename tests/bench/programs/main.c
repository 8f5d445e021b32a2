/* The program that holds all benchmark programs.
 *
 *   bench --list              a line a program: name, group, what it stands for
 *   bench NAME SCALE          runs one; prints "bench NAME checksum=HEX ns=N"
 *   as process 1              runs those of the kernel's "bench.programs=a,b" with "bench.scale=X",
 *                             each at most "bench.seconds=N" and "bench.copies=N" times at once, and
 *                             powers the machine off
 *
 * Instead of a checksum a line may say "bench NAME skip=REASON" or "bench NAME error=REASON"; as
 * process 1, "bench NAME begin at=N" comes before each and "bench - end at=N" behind the last, with
 * the clock's nanoseconds, so that the host can compare the guest's clock with its own.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM(name, group, count, needs, text) uint64_t run_##name(struct bench *b);
#include "programs.def"
#undef PROGRAM

struct program {
    const char *name, *group;
    uint64_t count;
    const char *needs, *text;
    uint64_t (*run)(struct bench *b);
};

static const struct program programs[] = {
#define PROGRAM(name, group, count, needs, text) {#name, #group, count, needs, text, run_##name},
#include "programs.def"
#undef PROGRAM
};
static const size_t program_count = sizeof programs / sizeof programs[0];

static const char *current = "?";

/* One write, so that no other line comes between. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char line[512];
    va_list values;
    va_start(values, format);
    int length = vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (length < 0)
        return;
    if ((size_t)length >= sizeof line)
        length = sizeof line - 1;
    for (int done = 0; done < length;) {
        ssize_t wrote = write(STDOUT_FILENO, line + done, length - done);
        if (wrote <= 0)
            return;
        done += wrote;
    }
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void bench_start(struct bench *b)
{
    b->began = now();
}

void bench_stop(struct bench *b)
{
    b->elapsed = now() - b->began;
}

void bench_fail(const char *why)
{
    say("bench %s error=%s\n", current, why);
    _exit(1);
}

void *bench_memory(size_t bytes)
{
    void *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (made == MAP_FAILED)
        bench_fail("no memory");
    return made;
}

static int has_feature(const char *name)
{
    __builtin_cpu_init();
    if (strcmp(name, "sse4.1") == 0)
        return __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1");
    if (strcmp(name, "sse4.2") == 0)
        return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2");
    if (strcmp(name, "fma") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(name, "bmi2") == 0)
        return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    return name[0] == '\0';
}

static const struct program *find(const char *name)
{
    for (size_t i = 0; i < program_count; ++i)
        if (strcmp(programs[i].name, name) == 0)
            return &programs[i];
    return NULL;
}

static int run_one(const char *self, const char *name, double scale)
{
    const struct program *program = find(name);
    current = name;
    if (!program) {
        say("bench %s error=there is no such program\n", name);
        return 1;
    }
    if (!has_feature(program->needs)) {
        say("bench %s skip=the CPU has no %s\n", name, program->needs);
        return 0;
    }
    struct bench b = {.self = self};
    double count = (double)program->count * scale;
    b.count = count < 1 ? 1 : (uint64_t)count;
    uint64_t checksum = program->run(&b);
    say("bench %s checksum=%016llx ns=%llu\n", name, (unsigned long long)checksum,
        (unsigned long long)b.elapsed);
    return 0;
}

/* The value of a word "name=value" on the kernel's command line, or what it is otherwise. */
static const char *boot_option(char *line, const char *name, const char *otherwise, char *buffer,
                               size_t size)
{
    size_t length = strlen(name);
    for (char *at = line; (at = strstr(at, name)) != NULL; at += length) {
        if ((at != line && at[-1] != ' ') || at[length] != '=')
            continue;
        size_t value = strcspn(at + length + 1, " \n");
        if (value >= size)
            value = size - 1;
        memcpy(buffer, at + length + 1, value);
        buffer[value] = '\0';
        return buffer;
    }
    return otherwise;
}

enum { most_copies = 64 };

/* Starts a program in a process (and process group) of its own; -1 when that cannot be. */
static pid_t start(const char *self, const char *name, const char *scale, const sigset_t *signals)
{
    pid_t pid = fork();
    if (pid == 0) {
        sigprocmask(SIG_SETMASK, signals, NULL);
        setpgid(0, 0);
        execl(self, self, name, scale, (char *)NULL);
        _exit(127);
    }
    if (pid < 0)
        say("bench %s error=fork: %s\n", name, strerror(errno));
    else
        setpgid(pid, pid);
    return pid;
}

/* The place of a process among those started, or -1: an orphan that process 1 inherits. */
static int place_of(pid_t pid, const pid_t *started, unsigned copies)
{
    for (unsigned n = 0; n < copies; ++n)
        if (started[n] == pid)
            return (int)n;
    return -1;
}

/* Runs copies of a program at once, and ends them when their time is over. */
static void supervise(const char *self, const char *name, const char *scale, unsigned seconds,
                      unsigned copies)
{
    sigset_t child_ended, before;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_ended, &before);
    say("bench %s begin at=%llu\n", name, (unsigned long long)now());
    pid_t started[most_copies];
    unsigned left = 0;
    for (unsigned n = 0; n < copies; ++n) {
        started[n] = start(self, name, scale, &before);
        left += started[n] > 0;
    }
    uint64_t deadline = now() + (uint64_t)seconds * 1000000000u;
    while (left != 0) {
        int status = 0;
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended > 0) {
            int place = place_of(ended, started, copies);
            if (place < 0)
                continue;
            started[place] = -1;
            --left;
            if (WIFSIGNALED(status))
                say("bench %s error=killed by %s\n", name, sigabbrev_np(WTERMSIG(status)));
            else if (WEXITSTATUS(status) == 127)
                say("bench %s error=exec failed\n", name);
            continue;
        }
        uint64_t time = now();
        if (time >= deadline) {
            for (unsigned n = 0; n < copies; ++n) {
                if (started[n] <= 0)
                    continue;
                kill(-started[n], SIGKILL);
                waitpid(started[n], &status, 0);
                say("bench %s error=no end within %u s\n", name, seconds);
            }
            return;
        }
        struct timespec wait = {(time_t)((deadline - time) / 1000000000u),
                                (long)((deadline - time) % 1000000000u)};
        sigtimedwait(&child_ended, NULL, &wait);
    }
}

static void run_as_init(const char *self)
{
    static char line[4096], names[4096], scale[32], seconds[32], times[32];
    mount("proc", "/proc", "proc", 0, NULL);
    mount("tmp", "/tmp", "tmpfs", 0, NULL);
    int file = open("/proc/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, line, sizeof line - 1);
    if (file >= 0)
        close(file);
    line[length < 0 ? 0 : length] = '\0';
    boot_option(line, "bench.programs", "", names, sizeof names);
    const char *factor = boot_option(line, "bench.scale", "1", scale, sizeof scale);
    int limit = atoi(boot_option(line, "bench.seconds", "60", seconds, sizeof seconds));
    int copies = atoi(boot_option(line, "bench.copies", "1", times, sizeof times));
    copies = copies < 1 ? 1 : copies > most_copies ? most_copies : copies;
    for (char *rest = names, *name; (name = strsep(&rest, ",")) != NULL;)
        if (*name)
            supervise(self, name, factor, limit > 0 ? (unsigned)limit : 60, (unsigned)copies);
    say("bench - end at=%llu\n", (unsigned long long)now());
    reboot(RB_POWER_OFF);
}

int main(int count, char **words)
{
    if (getpid() == 1) {
        run_as_init("/init");
        return 0;
    }
    if (count == 2 && strcmp(words[1], "--nothing") == 0)
        return 0; /* what the program `exec` starts */
    if (count == 2 && strcmp(words[1], "--list") == 0) {
        for (size_t i = 0; i < program_count; ++i)
            printf("%s\t%s\t%s\n", programs[i].name, programs[i].group, programs[i].text);
        return 0;
    }
    if (count != 3) {
        fprintf(stderr, "usage: %s --list | NAME SCALE\n", words[0]);
        return 2;
    }
    return run_one(words[0], words[1], strtod(words[2], NULL));
}
