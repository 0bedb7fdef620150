/*
 * User-mode Linux 6.1 keeps the floating point state of a process in 2 KiB or
 * so, and hands the kernel no more than that. A processor with AMX has 11 KiB,
 * and its kernel takes back a whole state or none (EFAULT): no process starts.
 *
 * Preloaded, this completes what is set by what the process has. The parts that
 * do not fit are those of tiles, which such a process cannot use.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(enum __ptrace_request, pid_t, void *, void *);
	static __thread char whole[64 << 10];
	va_list list;

	va_start(list, request);
	pid_t pid = va_arg(list, pid_t);
	void *addr = va_arg(list, void *);
	void *data = va_arg(list, void *);
	va_end(list);
	if (next == NULL)
		next = dlsym(RTLD_NEXT, "ptrace");
	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		struct iovec *part = data;
		struct iovec all = { whole, sizeof whole };

		if (next(PTRACE_GETREGSET, pid, addr, &all) == 0 && all.iov_len > part->iov_len) {
			memcpy(whole, part->iov_base, part->iov_len);
			return next(request, pid, addr, &all);
		}
	}
	return next(request, pid, addr, data);
}
