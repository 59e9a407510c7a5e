#include "store/seal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/sys.h"

_Static_assert(SEAL_KEY == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the key");
_Static_assert(SEAL_TAG == crypto_aead_xchacha20poly1305_ietf_ABYTES, "the tag");
_Static_assert(SEAL_PREFIX + 8 == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "the nonce");

static void make_nonce(const struct seal *s, uint64_t slot, uint8_t *nonce)
{
	uint32_t tail[2] = { (uint32_t)slot, s->slot[slot].taken };

	memcpy(nonce, s->prefix_of[slot / EXTENT_SLOTS], SEAL_PREFIX);
	memcpy(nonce + SEAL_PREFIX, tail, sizeof(tail));
}

static void close_page(struct seal *s, uint64_t slot, const void *page, void *to)
{
	uint8_t nonce[SEAL_PREFIX + 8];

	make_nonce(s, slot, nonce);
	crypto_aead_xchacha20poly1305_ietf_encrypt_detached(to, s->slot[slot].tag, NULL, page, PAGE_SIZE, NULL, 0, NULL, nonce,
							    s->key);
}

/* In place. False: it is not what was sealed. */
static bool open_page(struct seal *s, uint64_t slot, void *page)
{
	uint8_t nonce[SEAL_PREFIX + 8];

	make_nonce(s, slot, nonce);
	return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(page, NULL, page, PAGE_SIZE, s->slot[slot].tag, NULL, 0, nonce,
								   s->key) == 0;
}

static void run_out(struct seal *s, struct store_io *io, unsigned n, uint64_t page)
{
	struct store_io sealed[STORE_BATCH];

	memcpy(sealed, io, n * sizeof(*io));
	for (unsigned i = 0; i < n; i++) {
		sealed[i].page = s->bounce + i * PAGE_SIZE;
		close_page(s, slots_io_slot(&io[i]), io[i].page, sealed[i].page);
	}
	s->run(s->slots, sealed, n, page, true);
	for (unsigned i = 0; i < n; i++)
		io[i].err = sealed[i].err;
}

void seal_open(struct seal *s, struct store_io *io, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (io[i].err == 0 && !open_page(s, io[i].handle, io[i].page))
			io[i].err = -EKEYREJECTED;
}

static void seal_run(struct slots *slots, struct store_io *io, unsigned n, uint64_t page, bool out)
{
	struct seal *s = slots->seal;

	if (out) {
		run_out(s, io, n, page);
		return;
	}
	s->run(slots, io, n, page, false);
	seal_open(s, io, n);
}

void seal_taken(struct seal *s, uint64_t slot)
{
	s->slot[slot].taken++;
	memcpy(s->prefix_of[slot / EXTENT_SLOTS], s->prefix, SEAL_PREFIX);
}

static int draw(void *to, size_t n)
{
	return sys_call3(SYS_getrandom, (long)to, (long)n, 0) == (long)n ? 0 : -EIO;
}

static size_t prefixes_bytes(uint64_t max_bytes)
{
	return (slots_usable(max_bytes) / EXTENT_SLOTS + 1) * SEAL_PREFIX;
}

size_t seal_bytes(uint64_t max_bytes)
{
	return (1 + STORE_BATCH) * PAGE_SIZE + prefixes_bytes(max_bytes) + slots_usable(max_bytes) * sizeof(struct sealed_slot);
}

int seal_init(struct seal *s, struct slots *slots, uint64_t max_bytes, void *memory)
{
	/* Which code this CPU can run. Called by threads of the program, that have a libc. */
	if (sodium_init() < 0)
		return -EIO;
	*s = (struct seal){ .slots = slots, .run = slots->run, .key = memory, .bounce = (uint8_t *)memory + PAGE_SIZE };
	s->prefix_of = (void *)(s->bounce + STORE_BATCH * PAGE_SIZE);
	s->slot = (void *)((uint8_t *)s->prefix_of + prefixes_bytes(max_bytes));
	slots->seal = s;
	slots->run = seal_run;
	/* Neither in a core dump nor in the host's swap, as far as it lets us. */
	sys_madvise(s->key, PAGE_SIZE, MADV_DONTDUMP);
	sys_call3(SYS_mlock, (long)s->key, SEAL_KEY, 0);
	int err = draw(s->key, SEAL_KEY);

	return err == 0 ? draw(s->prefix, SEAL_PREFIX) : err;
}

int seal_inherit(struct seal *s)
{
	return draw(s->prefix, SEAL_PREFIX);
}
