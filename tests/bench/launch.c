/* Runs a command and prints "STATUS WALL_NS USER_US KIB": its exit status, or 128 plus the signal that
 * ended it; its time; its resident set at most.
 *
 *   launch SECONDS COMMAND [ARGUMENT...]
 *
 * The command's standard input and output are /dev/null; after SECONDS it is killed. Why a program: a
 * process begins with the peak resident set of the process that it was made by, which for a child of
 * Python is larger than that of a small guest's emulator. This one's is less than 1 MiB.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static volatile pid_t child;

static void kill_child(int signal)
{
    (void)signal;
    kill(child, SIGKILL);
}

int main(int count, char **words)
{
    if (count < 3) {
        fprintf(stderr, "usage: %s SECONDS COMMAND [ARGUMENT...]\n", words[0]);
        return 2;
    }
    long long began = now();
    child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        execvp(words[2], words + 2);
        perror(words[2]);
        _exit(127);
    }
    if (child < 0) {
        perror("fork");
        return 2;
    }
    struct sigaction action = {.sa_handler = kill_child, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    alarm((unsigned)atoi(words[1]));
    int status;
    struct rusage usage;
    if (wait4(child, &status, 0, &usage) != child) {
        perror("wait4");
        return 2;
    }
    long long wall = now() - began;
    printf("%d %lld %lld %ld\n", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
           wall, usage.ru_utime.tv_sec * 1000000LL + usage.ru_utime.tv_usec, usage.ru_maxrss);
    return 0;
}
