#include "malloc/arena.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"

void misuse(const char *what, const void *addr)
{
	char line[160];
	struct fmt f;

	fmt_init(&f, line, sizeof(line));
	fmt_str(&f, "steward: malloc: ");
	fmt_str(&f, what);
	fmt_str(&f, ": ");
	fmt_hex(&f, (uintptr_t)addr);
	fmt_char(&f, '\n');
	syscall(SYS_write, STDERR_FILENO, line, f.len);
	abort();
}
