#include "cli/run/libnbd.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

struct libnbd nbd;

int libnbd_load(void)
{
	void *library = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);

	if (library == NULL)
		return -ENOENT;
#define LIBNBD_FIND(name)                                           \
	*(void **)&nbd.name = dlsym(library, "nbd_" #name);         \
	if (nbd.name == NULL)                                       \
		return -ENOENT;
	LIBNBD_FUNCTIONS(LIBNBD_FIND)
#undef LIBNBD_FIND
	return 0;
}
