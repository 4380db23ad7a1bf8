/* Preloaded into a process: its wall clock is off by so many seconds, and the kernel says whether it is kept right.
   The file that WRONG_CLOCK names holds two native 64-bit integers, which may change at any time: the seconds, and
   whether the clock is synchronised. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *setting;

__attribute__((constructor)) static void open_setting(void) {
    int file = open(getenv("WRONG_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *mapped = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || mapped == MAP_FAILED) abort();
    setting = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && setting) time->tv_sec += setting[0];
    return result;
}

int adjtimex(struct timex *values) {
    int result = syscall(SYS_adjtimex, values);
    if (setting[1]) {
        values->status &= ~STA_UNSYNC;
        return TIME_OK;
    }
    values->status |= STA_UNSYNC;
    return result < 0 ? result : TIME_ERROR;
}
