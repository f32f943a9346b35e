// A library for LD_PRELOAD under which calls on files fail as they do on a full, dying or read-only
// disk, and threads cannot be started. Which ones, tells a file of `struct Orders` that
// $ATTACK_ORDERS names and the attacker writes while the program runs; it concerns files below
// $ATTACK_FOLDER only. Whatever it does not fail goes on to the C library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum Call { OPEN, CREATE, WRITE, SYNC, RENAME, UNLINK, TRUNCATE, MAP, READ, MKDIR, THREAD };

// 4 bytes each, as disk_faults.py packs them.
struct Orders {
  volatile uint32_t calls;    // bit i: Call i is concerned; 0: nothing fails
  volatile int32_t wait;      // so many calls that are concerned succeed first
  volatile int32_t times;     // then so many fail; below 0: all of them
  volatile int32_t error;     // the errno that they fail with; 0: writes and reads are short instead
  volatile uint32_t growing;  // only writes that make a file longer: a full disk
  volatile uint32_t failed;   // how many have
};

static struct Orders* orders;
static char folder[4096];

static void __attribute__((constructor)) start(void) {
  const char* below = getenv("ATTACK_FOLDER");
  const char* path = getenv("ATTACK_ORDERS");
  if (!path) return;
  if (below) snprintf(folder, sizeof folder, "%s", below);
  int (*real_open)(const char*, int, ...) = dlsym(RTLD_NEXT, "open");
  void* (*real_mmap)(void*, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
  const int file = real_open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void* mapped = real_mmap(NULL, sizeof(struct Orders), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) orders = mapped;
}

static int below_folder(const char* path) {
  return folder[0] && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int in_folder(int file) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size <= 0) return 0;
  path[size] = '\0';
  return below_folder(path);
}

static int concerned(enum Call call) {
  return orders && (orders->calls >> call & 1);
}

// Whether it is this call's turn to fail.
static int turn(void) {
  if (__atomic_fetch_sub(&orders->wait, 1, __ATOMIC_RELAXED) > 0) return 0;
  if (orders->times >= 0 && __atomic_fetch_sub(&orders->times, 1, __ATOMIC_RELAXED) <= 0) {
    orders->times = 0;
    return 0;
  }
  __atomic_fetch_add(&orders->failed, 1, __ATOMIC_RELAXED);
  return 1;
}

static int fails_path(enum Call call, const char* path) {
  if (!concerned(call) || !below_folder(path) || !turn()) return 0;
  errno = orders->error ? orders->error : EIO;
  return 1;
}

static int fails_file(enum Call call, int file) {
  if (!concerned(call) || !in_folder(file) || !turn()) return 0;
  errno = orders->error ? orders->error : EIO;
  return 1;
}

#define REAL(name) ((__typeof__(&name))real_##name())
#define FIND(name)                                        \
  static void* real_##name(void) {                        \
    static void* found;                                   \
    if (!found) found = dlsym(RTLD_NEXT, #name);          \
    return found;                                         \
  }

// Files are opened in four ways that differ in their names.
static enum Call opening(int flags) {
  return flags & (O_CREAT | O_WRONLY | O_RDWR) ? CREATE : OPEN;
}
#define MODE(flags, last)                                        \
  mode_t mode = 0;                                               \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {                       \
    va_list more;                                                \
    va_start(more, last);                                        \
    mode = va_arg(more, mode_t);                                 \
    va_end(more);                                                \
  }
#define OPENS(name)                                              \
  FIND(name)                                                     \
  int name(const char* path, int flags, ...) {                   \
    MODE(flags, flags)                                           \
    if (fails_path(opening(flags), path)) return -1;             \
    return REAL(name)(path, flags, mode);                        \
  }
#define OPENS_AT(name)                                           \
  FIND(name)                                                     \
  int name(int at, const char* path, int flags, ...) {           \
    MODE(flags, flags)                                           \
    if (fails_path(opening(flags), path)) return -1;             \
    return REAL(name)(at, path, flags, mode);                    \
  }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

FIND(fopen64)
FIND(fopen)
FILE* fopen(const char* path, const char* mode) {
  if (fails_path(strchr(mode, 'r') ? OPEN : CREATE, path)) return NULL;
  return REAL(fopen)(path, mode);
}
FILE* fopen64(const char* path, const char* mode) {
  if (fails_path(strchr(mode, 'r') ? OPEN : CREATE, path)) return NULL;
  return REAL(fopen64)(path, mode);
}

// Bytes of a write that may go on; -1: it fails.
static ssize_t allowed(int file, size_t size, off_t at) {
  if (!concerned(WRITE) || !in_folder(file)) return (ssize_t)size;
  if (orders->growing) {
    struct stat status;
    if (at < 0) at = lseek(file, 0, SEEK_CUR);
    if (fstat(file, &status) == 0 && at + (off_t)size <= status.st_size) return (ssize_t)size;
  }
  if (!turn()) return (ssize_t)size;
  if (orders->error == 0) return size > 1 ? (ssize_t)(size / 2) : (ssize_t)size;
  errno = orders->error;
  return -1;
}

FIND(write)
ssize_t write(int file, const void* data, size_t size) {
  const ssize_t most = allowed(file, size, -1);
  return most < 0 ? -1 : REAL(write)(file, data, (size_t)most);
}
#define WRITES_AT(name, offset)                                            \
  FIND(name)                                                               \
  ssize_t name(int file, const void* data, size_t size, offset at) {       \
    const ssize_t most = allowed(file, size, at);                          \
    return most < 0 ? -1 : REAL(name)(file, data, (size_t)most, at);       \
  }
WRITES_AT(pwrite, off_t)
WRITES_AT(pwrite64, off64_t)
FIND(writev)
ssize_t writev(int file, const struct iovec* parts, int count) {
  if (concerned(WRITE) && in_folder(file) && turn()) {
    errno = orders->error ? orders->error : EIO;
    return -1;
  }
  return REAL(writev)(file, parts, count);
}

#define READS_AT(name, offset)                                             \
  FIND(name)                                                               \
  ssize_t name(int file, void* data, size_t size, offset at) {             \
    if (fails_file(READ, file)) return -1;                                 \
    return REAL(name)(file, data, size, at);                               \
  }
READS_AT(pread, off_t)
READS_AT(pread64, off64_t)
FIND(read)
ssize_t read(int file, void* data, size_t size) {
  if (fails_file(READ, file)) return -1;
  return REAL(read)(file, data, size);
}

#define FILE_CALL(name, call, type)                                        \
  FIND(name)                                                               \
  int name type {                                                          \
    if (fails_file(call, file)) return -1;
FILE_CALL(fsync, SYNC, (int file))
  return REAL(fsync)(file);
}
FILE_CALL(fdatasync, SYNC, (int file))
  return REAL(fdatasync)(file);
}
FILE_CALL(ftruncate, TRUNCATE, (int file, off_t size))
  return REAL(ftruncate)(file, size);
}
FILE_CALL(ftruncate64, TRUNCATE, (int file, off64_t size))
  return REAL(ftruncate64)(file, size);
}

FIND(rename)
int rename(const char* from, const char* to) {
  if (fails_path(RENAME, to)) return -1;
  return REAL(rename)(from, to);
}
FIND(renameat)
int renameat(int from_at, const char* from, int to_at, const char* to) {
  if (fails_path(RENAME, to)) return -1;
  return REAL(renameat)(from_at, from, to_at, to);
}
FIND(link)
int link(const char* from, const char* to) {
  if (fails_path(RENAME, to)) return -1;
  return REAL(link)(from, to);
}
FIND(unlink)
int unlink(const char* path) {
  if (fails_path(UNLINK, path)) return -1;
  return REAL(unlink)(path);
}
FIND(unlinkat)
int unlinkat(int at, const char* path, int flags) {
  if (fails_path(UNLINK, path)) return -1;
  return REAL(unlinkat)(at, path, flags);
}
FIND(remove)
int remove(const char* path) {
  if (fails_path(UNLINK, path)) return -1;
  return REAL(remove)(path);
}
FIND(mkdir)
int mkdir(const char* path, mode_t mode) {
  if (fails_path(MKDIR, path)) return -1;
  return REAL(mkdir)(path, mode);
}

#define MAPS(name, offset)                                                                      \
  FIND(name)                                                                                    \
  void* name(void* address, size_t size, int protection, int flags, int file, offset at) {      \
    if (file >= 0 && fails_file(MAP, file)) return MAP_FAILED;                                  \
    return REAL(name)(address, size, protection, flags, file, at);                              \
  }
MAPS(mmap, off_t)
MAPS(mmap64, off64_t)

FIND(pthread_create)
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*), void* argument) {
  if (concerned(THREAD) && turn()) return orders->error ? orders->error : EAGAIN;
  return REAL(pthread_create)(thread, attributes, run, argument);
}
