/*
 * Libraries that are opened with RTLD_DEEPBIND look for symbols in themselves and what they are linked with first, libc for one.
 * PHP opens its modules so. Blocks of our heap would come to libc's free, and what they map would pass us by. So the flag is
 * left out: such a library finds what the others find, ours first, as it does in a program that has the flag not.
 */
#include <dlfcn.h>

#include "preload/preload.h"

typedef void *open_fn(const char *file, int mode);

/*
 * The loader looks at its return address for who opens: a name without a slash is looked for where that object says (RUNPATH).
 * So this must end in a jump, whatever the rest is compiled with.
 */
__attribute__((optimize("O2"))) EXPORT void *dlopen(const char *file, int mode)
{
	static open_fn *real;

	if (real == NULL)
		real = (open_fn *)dlsym(RTLD_NEXT, "dlopen");
	return real(file, mode & ~RTLD_DEEPBIND);
}
