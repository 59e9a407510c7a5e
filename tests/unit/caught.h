/* CAUGHT(call): does an assertion fail in it? */
#ifndef STW_TEST_CAUGHT_H
#define STW_TEST_CAUGHT_H

#include <setjmp.h>

#include "base/assert.h"

static jmp_buf caught_at;

static void caught_hook(const char *file, int line, const char *what)
{
	(void)file;
	(void)line;
	(void)what;
	longjmp(caught_at, 1);
}

#define CAUGHT(call)                         \
	({                                   \
		volatile bool caught = false; \
		assert_fail_hook = caught_hook; \
		if (setjmp(caught_at) == 0)  \
			call;                \
		else                         \
			caught = true;       \
		assert_fail_hook = NULL;     \
		caught;                      \
	})

#endif
