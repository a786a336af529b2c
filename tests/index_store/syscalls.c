/* Counts what a process does to the files below one folder, and kills it there: loaded by LD_PRELOAD, asleep until armed.
 *
 * A step is one call that changes what a later process finds: a write, an fsync, a rename, a deletion, a truncation, a
 * new folder. SQLite's and FAISS's are counted like Python's. Built by syscalls.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, BEFORE, AFTER, TORN };

static char folder[PATH_MAX];
static size_t folder_length;
static long fatal, steps;
static int mode, trace = -1, armed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* `trace_path`: where to note each step, or NULL. */
void syscalls_arm(const char *below, long step, int how, const char *trace_path)
{
    snprintf(folder, sizeof folder, "%s", below);
    folder_length = strlen(folder);
    fatal = step;
    mode = how;
    steps = 0;
    trace = trace_path ? open(trace_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    armed = 1;
}

long syscalls_disarm(void)
{
    armed = 0;
    return steps;
}

static int below_folder(const char *path)
{
    return strncmp(path, folder, folder_length) == 0 && (path[folder_length] == '/' || path[folder_length] == '\0');
}

static int path_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return below_folder(path);
}

#define REAL(name)                                   \
    static __typeof__(&name) real;                   \
    if (!real)                                       \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t (*real_write)(int, const void *, size_t);

static void note(const char *name, const char *path, const char *other)
{
    char line[2 * PATH_MAX + 64];
    if (trace < 0)
        return;
    if (!real_write)
        real_write = dlsym(RTLD_NEXT, "write");
    int length = snprintf(line, sizeof line, "%s\t%s\t%s\n", name, path, other ? other : "");
    if (real_write(trace, line, (size_t)length) < 0)
        abort();
}

/* Counts a step. Whoever reaches the fatal one keeps the lock to its end, so that no other thread gets any further. */
static int begin(const char *name, const char *path, const char *other)
{
    pthread_mutex_lock(&lock);
    steps++;
    note(name, path, other);
    if (steps == fatal && mode != COUNT) {
        if (mode == BEFORE)
            die();
        return 1;
    }
    return 0;
}

static void end(int is_fatal)
{
    if (is_fatal)
        die();
    pthread_mutex_unlock(&lock);
}

#define STEP(name, kind, condition, path, other, call)  \
    do {                                                \
        if (!armed || !(condition))                     \
            return call;                                \
        int is_fatal = begin(kind, path, other);        \
        __typeof__(call) result = call;                 \
        int saved = errno;                              \
        end(is_fatal);                                  \
        errno = saved;                                  \
        return result;                                  \
    } while (0)

/* Writes half of it where the step is to be torn. */
#define WRITE(count, call)                                             \
    do {                                                               \
        char path[PATH_MAX];                                           \
        if (!armed || !path_of(fd, path))                              \
            return call;                                               \
        int is_fatal = begin("write", path, NULL);                     \
        if (is_fatal && mode == TORN)                                  \
            count = count / 2;                                         \
        ssize_t result = call;                                         \
        int saved = errno;                                             \
        end(is_fatal);                                                 \
        errno = saved;                                                 \
        return result;                                                 \
    } while (0)

ssize_t write(int fd, const void *data, size_t count)
{
    REAL(write);
    WRITE(count, real(fd, data, count));
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset)
{
    REAL(pwrite);
    WRITE(count, real(fd, data, count, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset)
{
    REAL(pwrite64);
    WRITE(count, real(fd, data, count, offset));
}

int fsync(int fd)
{
    char path[PATH_MAX];
    REAL(fsync);
    STEP(fsync, "fsync", path_of(fd, path), path, NULL, real(fd));
}

int fdatasync(int fd)
{
    char path[PATH_MAX];
    REAL(fdatasync);
    STEP(fdatasync, "fsync", path_of(fd, path), path, NULL, real(fd));
}

int ftruncate(int fd, off_t length)
{
    char path[PATH_MAX];
    REAL(ftruncate);
    STEP(ftruncate, "truncate", path_of(fd, path), path, NULL, real(fd, length));
}

int ftruncate64(int fd, off64_t length)
{
    char path[PATH_MAX];
    REAL(ftruncate64);
    STEP(ftruncate64, "truncate", path_of(fd, path), path, NULL, real(fd, length));
}

int rename(const char *from, const char *to)
{
    REAL(rename);
    STEP(rename, "rename", below_folder(from) || below_folder(to), from, to, real(from, to));
}

int unlink(const char *path)
{
    REAL(unlink);
    STEP(unlink, "unlink", below_folder(path), path, NULL, real(path));
}

int rmdir(const char *path)
{
    REAL(rmdir);
    STEP(rmdir, "rmdir", below_folder(path), path, NULL, real(path));
}

int mkdir(const char *path, mode_t how)
{
    REAL(mkdir);
    STEP(mkdir, "mkdir", below_folder(path), path, NULL, real(path, how));
}
