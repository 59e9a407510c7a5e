#include <errno.h>
#include <sys/random.h>

#include "malloc/arena.h"

uintptr_t process_secret(void)
{
	static _Atomic uintptr_t secret;
	uintptr_t now = atomic_load_explicit(&secret, memory_order_relaxed), fresh = 0;
	int saved_errno = errno;

	if (now != 0)
		return now;
	/* Before the system has entropy, an address has to do. */
	if (getrandom(&fresh, sizeof(fresh), GRND_NONBLOCK) != sizeof(fresh))
		fresh = (uintptr_t)&fresh * 0x9e3779b97f4a7c15u;
	errno = saved_errno;
	fresh |= 1;
	return atomic_compare_exchange_strong(&secret, &now, fresh) ? fresh : now;
}
