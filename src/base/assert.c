#include "base/assert.h"

#include <stddef.h>

void (*assert_fail_hook)(const char *file, int line, const char *what);

void assert_fail(const char *file, int line, const char *what)
{
	if (assert_fail_hook != NULL)
		assert_fail_hook(file, line, what);
	__builtin_trap();
}
