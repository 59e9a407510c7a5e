#include <sys/random.h>

#include "base/sys.h"
#include "malloc/arena.h"

uintptr_t process_secret(void)
{
	static _Atomic uintptr_t secret;
	uintptr_t now = atomic_load_explicit(&secret, memory_order_relaxed), fresh = 0;

	if (now != 0)
		return now;
	/* A sanitizer that has taken getrandom over may not have begun yet. Before the system has entropy, an address has to do. */
	if (sys_call3(SYS_getrandom, (long)&fresh, sizeof(fresh), GRND_NONBLOCK) != sizeof(fresh))
		fresh = (uintptr_t)&fresh * 0x9e3779b97f4a7c15u;
	fresh |= 1;
	return atomic_compare_exchange_strong(&secret, &now, fresh) ? fresh : now;
}
