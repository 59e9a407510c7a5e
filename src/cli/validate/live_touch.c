/*
 * The program that a run runs. What is not the experiment is kept out of the managed memory: the sequence, and which
 * pages have been touched, are in shared mappings, which the engine only counts.
 *
 * A third of each page is noise, so that it packs to a third, as the pages of steward bench do. The first touch of a
 * page brings that, every touch writes.
 *
 * Before the engine is engaged, what may be touched counts, and not what is. So it says how much that is besides the range:
 * its writable anonymous memory, by the rules of live/native.c candidate(), and the code that it has mapped, of which what is in use
 * counts afterwards (live/fileage.c).
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/size.h"
#include "cli/maps.h"
#include "cli/msg.h"
#include "cli/validate/live.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define NOISE_BYTES (PAGE_SIZE / 3)
#define NOISE_SEED 7
#define AREA_MIN (64 * KIB) /* live/native.c */

struct besides {
	uint64_t bytes, end;
	uint64_t exe, ino; /* of the program, of the area before */
	bool fence;        /* the area before is a page as those around Steward's own memory (live/engine.c) */
};

static bool add_area(void *ctx, const struct maps_line *m)
{
	struct besides *b = ctx;
	bool bss = m->start == b->end && b->ino != 0 && b->ino != b->exe;
	bool heap = m->path[0] == '\0' || strcmp(m->path, "[heap]") == 0;
	bool own = m->start == b->end && b->fence;

	if (strcmp(m->rights, "rw-p") == 0 && m->ino == 0 && heap && !bss && !own && m->end - m->start >= AREA_MIN)
		b->bytes += m->end - m->start;
	b->fence = strcmp(m->rights, "r--p") == 0 && m->ino == 0 && m->end - m->start == PAGE_SIZE;
	b->exe = b->exe == 0 ? m->ino : b->exe;
	b->ino = m->ino;
	b->end = m->end;
	return true;
}

/* Bytes of files in the page tables. */
static uint64_t files(void)
{
	char line[256];
	unsigned long long kib = 0;
	FILE *f = fopen("/proc/self/status", "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "RssFile: %llu", &kib) == 1)
			break;
	if (f != NULL)
		fclose(f);
	return kib * KIB;
}

static void say_besides(const char *workload)
{
	struct besides b = { 0 };

	maps_each(getpid(), add_area, &b);
	dprintf(STDOUT_FILENO, "{\"workload\": \"%s\", \"" LIVE_BESIDES "\": %llu}\n", workload, (unsigned long long)(b.bytes + files()));
}

int live_touch(const char *workload)
{
	const size_t bytes = (size_t)VALIDATE_PAGES << PAGE_SHIFT;
	static unsigned char noise[NOISE_BYTES];
	struct validate_sequence s;
	struct rand rand;
	int status = validate_fill(&s, workload, VALIDATE_PAGES, LIVE_TOUCHES);
	unsigned char *seen = mmap(NULL, VALIDATE_PAGES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (status != 0)
		return status;
	say_besides(workload);
	unsigned char *range = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (range == MAP_FAILED || seen == MAP_FAILED)
		return msg_fail(1, workload, "no memory to touch; free some");
	rand_seed(&rand, NOISE_SEED);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)rand_u64(&rand);
	/* It begins where a page table does, so that it needs as many as the model's. */
	range = (unsigned char *)ALIGN_UP((uintptr_t)range, HUGE_BYTES);
	madvise(range, bytes, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < s.n; i++) {
		unsigned char *page = range + ((size_t)s.page[i] << PAGE_SHIFT);

		if (!seen[s.page[i]])
			memcpy(page, noise, sizeof(noise));
		seen[s.page[i]] = 1;
		*(volatile unsigned char *)page = (unsigned char)(i | 1);
	}
	dprintf(STDOUT_FILENO, "{\"" LIVE_FILES "\": %llu}\n", (unsigned long long)files());
	return 0;
}
