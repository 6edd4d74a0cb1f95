/* Lets the programs that preload this see an AMD processor: as_amd.py says what for.
 *
 * Linux can be told to refuse the instruction cpuid (arch_prctl, where the processor has "cpuid_fault"). The refusal is
 * a SIGSEGV; its handler here asks the processor itself, changes the answer, and goes on behind the instruction. Other
 * such signals go to whoever wanted them. What a library reads in /proc/cpuinfo comes from a file instead.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define ZEN_4 0x00A10F11u
#define AMX_AND_FP16 (1u << 22 | 1u << 23 | 1u << 24 | 1u << 25)

typedef int sigaction_t(int, const struct sigaction *, struct sigaction *);
static struct sigaction theirs;

static long allow_cpuid(long allowed) { /* not by syscall(2), which would change errno within the handler */
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_arch_prctl), "D"(ARCH_SET_CPUID), "S"(allowed)
                     : "rcx", "r11", "memory");
    return result;
}

static void ask(uint32_t leaf, uint32_t part, uint32_t r[4]) {
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(part));
}

static void answer(uint32_t leaf, uint32_t part, uint32_t r[4]) {
    static const char name[49] = "AMD EPYC, as told by as_amd                    ";
    ask(leaf, part, r);
    if (leaf == 0 || leaf == 0x80000000u) {
        r[0] = leaf ? 0x80000028u : 0x10;
        memcpy(&r[1], "Auth", 4), memcpy(&r[3], "enti", 4), memcpy(&r[2], "cAMD", 4);
    } else if (leaf == 1) {
        r[0] = ZEN_4;
    } else if (leaf == 7 && part == 0) { /* AVX-512 stays, which Zen 4 has */
        r[3] &= ~AMX_AND_FP16;
    } else if (leaf == 7) {
        r[0] &= 1u << 5, r[1] = r[2] = r[3] = 0; /* AVX512_BF16 alone */
    } else if (leaf == 2 || leaf == 4 || (leaf > 8 && leaf < 0x40000000u && leaf != 0xd)) {
        memset(r, 0, 4 * sizeof *r); /* AMD tells its caches elsewhere */
    } else if (leaf >= 0x80000002u && leaf <= 0x80000004u) {
        memcpy(r, name + 16 * (leaf - 0x80000002u), 16);
    } else if (leaf == 0x80000005u) {
        r[0] = r[1] = 0xff48ff40u, r[2] = r[3] = 0x20080140u;
    } else if (leaf == 0x80000006u) {
        r[0] = 0x5c002200u, r[1] = 0x6c004200u, r[2] = 0x04006140u, r[3] = 0x00809140u;
    } else if (leaf == 0x8000001du) {
        ask(4, part, r); /* the same layout */
    } else if (leaf > 0x80000008u) {
        memset(r, 0, 4 * sizeof *r);
    }
}

static sigaction_t *real_sigaction(void) { return (sigaction_t *)dlsym(RTLD_NEXT, "sigaction"); }

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *at = (const unsigned char *)registers[REG_RIP];
    if (info->si_code == SI_KERNEL && at[0] == 0x0f && at[1] == 0xa2) {
        uint32_t r[4];
        allow_cpuid(1);
        answer((uint32_t)registers[REG_RAX], (uint32_t)registers[REG_RCX], r);
        allow_cpuid(0);
        registers[REG_RAX] = r[0], registers[REG_RBX] = r[1], registers[REG_RCX] = r[2], registers[REG_RDX] = r[3];
        registers[REG_RIP] += 2;
    } else if (theirs.sa_flags & SA_SIGINFO) {
        theirs.sa_sigaction(number, info, context);
    } else if (theirs.sa_handler != SIG_DFL && theirs.sa_handler != SIG_IGN) {
        theirs.sa_handler(number);
    } else {
        struct sigaction stock = {.sa_handler = SIG_DFL};
        real_sigaction()(SIGSEGV, &stock, NULL); /* which ends the process when the instruction is tried again */
    }
}

int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    if (number != SIGSEGV) return real_sigaction()(number, wanted, before);
    if (before) *before = theirs;
    if (wanted) theirs = *wanted;
    return 0;
}

sighandler_t signal(int number, sighandler_t wanted) {
    if (number != SIGSEGV) return ((sighandler_t(*)(int, sighandler_t))dlsym(RTLD_NEXT, "signal"))(number, wanted);
    sighandler_t before = theirs.sa_handler;
    theirs = (struct sigaction){.sa_handler = wanted};
    return before;
}

static const char *instead(const char *path) {
    const char *told = getenv("AS_AMD_CPUINFO");
    return told && !strcmp(path, "/proc/cpuinfo") ? told : path;
}

#define OPEN(name)                                                                        \
    int name(const char *path, int flags, ...) {                                          \
        va_list rest;                                                                     \
        va_start(rest, flags);                                                            \
        int mode = va_arg(rest, int);                                                     \
        va_end(rest);                                                                     \
        return ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name))(instead(path), flags, mode); \
    }
#define FOPEN(name)                                                                       \
    FILE *name(const char *path, const char *mode) {                                      \
        return ((FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, #name))(instead(path), mode); \
    }
OPEN(open)
OPEN(open64)
FOPEN(fopen)
FOPEN(fopen64)

__attribute__((constructor)) static void begin(void) {
    struct sigaction ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    real_sigaction()(SIGSEGV, &ours, &theirs);
    if (allow_cpuid(0)) {
        fputs("as_amd: this processor or kernel cannot refuse cpuid\n", stderr);
        _exit(98);
    }
}
