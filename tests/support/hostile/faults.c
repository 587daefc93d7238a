/* Loaded before libc: counts what a process does to the files of one folder, and makes the k-th of
   a kind fail, or kills the process there. Driven by hostile/failing.py; see hostile/faults.py. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, WRITE, NAME, SYNC, KINDS };
enum { FAIL_ONCE, FAIL_ON, KILL, FULL };

static char folder[PATH_MAX];
static size_t folder_length;
static int armed = -1, how, error_number;
static long at, counts[KINDS], room;

void faults_watch(const char *path) {
    memset(counts, 0, sizeof counts);
    armed = -1;
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
}

/* how FULL: `number` bytes may still be written, and no more. */
void faults_arm(int kind, long number, int manner, int error) {
    armed = kind, at = number, how = manner, error_number = error;
    room = number;
}

long faults_count(int kind) { return counts[kind]; }

/* Whether `path`, as seen from an open folder, is below ours. */
static int ours_at(int at_folder, const char *path) {
    char link[64], whole[2 * PATH_MAX];
    if (!folder_length || !path) return 0;
    if (path[0] != '/') {
        if (at_folder == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", at_folder);
        ssize_t length = readlink(link, whole, PATH_MAX);
        if (length <= 0) return 0;
        snprintf(whole + length, sizeof whole - length, "/%s", path);
        path = whole;
    }
    return !strncmp(path, folder, folder_length);
}

static int ours(const char *path) { return ours_at(AT_FDCWD, path); }

static int our_file(int file) { return file > 2 && ours_at(file, ""); }

/* Whether this one is to fail; errno is then set. */
static int fails(int kind) {
    long number = __atomic_add_fetch(&counts[kind], 1, __ATOMIC_SEQ_CST);
    if (armed != kind || how == FULL || !(how == FAIL_ON ? number >= at : number == at)) return 0;
    if (how == KILL) kill(getpid(), SIGKILL);
    errno = error_number;
    return 1;
}

/* How much of `size` bytes a full disk still takes; -1 for none. */
static ssize_t fits(size_t size) {
    if (armed != WRITE || how != FULL) return size;
    if (room <= 0 && size) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t taken = (long)size < room ? (ssize_t)size : room;
    room -= taken;
    return taken;
}

#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define OPENS(name)                                                                                \
    int name(const char *path, int flags, ...) {                                                   \
        REAL(name);                                                                                \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        int mode = va_arg(rest, int);                                                              \
        va_end(rest);                                                                              \
        if (ours(path) && fails(OPEN)) return -1;                                                  \
        return real(path, flags, mode);                                                            \
    }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                             \
    int name(int at_folder, const char *path, int flags, ...) {                                    \
        REAL(name);                                                                                \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        int mode = va_arg(rest, int);                                                              \
        va_end(rest);                                                                              \
        if (ours_at(at_folder, path) && fails(OPEN)) return -1;                                    \
        return real(at_folder, path, flags, mode);                                                 \
    }
OPENS_AT(openat)
OPENS_AT(openat64)

#define FOPENS(name)                                                                               \
    FILE *name(const char *path, const char *mode) {                                               \
        REAL(name);                                                                                \
        if (ours(path) && fails(OPEN)) return NULL;                                                \
        return real(path, mode);                                                                   \
    }
FOPENS(fopen)
FOPENS(fopen64)

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    if (our_file(file)) {
        if (fails(WRITE)) return -1;
        ssize_t taken = fits(size);
        if (taken < 0) return -1;
        size = taken;
    }
    return real(file, data, size);
}

ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    REAL(pwrite64);
    if (our_file(file)) {
        if (fails(WRITE)) return -1;
        ssize_t taken = fits(size);
        if (taken < 0) return -1;
        size = taken;
    }
    return real(file, data, size, place);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    if (our_file(file) && (fails(WRITE) || fits(1) < 0)) return -1;
    return real(file, parts, count);
}

#define NAMES(name, declared, given, place, path)                                                  \
    int name declared {                                                                            \
        REAL(name);                                                                                \
        if (ours_at(place, path) && fails(NAME)) return -1;                                        \
        return real given;                                                                         \
    }
NAMES(rename, (const char *from, const char *to), (from, to), AT_FDCWD, to)
NAMES(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), b, to)
NAMES(unlink, (const char *path), (path), AT_FDCWD, path)
NAMES(unlinkat, (int a, const char *path, int flags), (a, path, flags), a, path)
NAMES(mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
NAMES(mkdirat, (int a, const char *path, mode_t mode), (a, path, mode), a, path)
NAMES(rmdir, (const char *path), (path), AT_FDCWD, path)
NAMES(chmod, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
NAMES(fchmodat, (int a, const char *path, mode_t mode, int flags), (a, path, mode, flags), a, path)

int fsync(int file) {
    REAL(fsync);
    if (our_file(file) && fails(SYNC)) return -1;
    return real(file);
}
