/*
 * What the environment says: STEWARD_MALLOC=WORD[,WORD…], and the variables of
 * glibc's allocator, which mean the same here. Read once, before the program
 * starts; a set-user-ID program does not listen.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"

#define VARIABLE "STEWARD_MALLOC"

#define HIGH_FD 210 /* out of the way of the program's */

/* Where the summary goes at exit: programs close stderr before. -1: none is wanted. */
static int stats_fd = -1;

static void use_classic(void)
{
	tcache_enable(false);
}

static void use_nothread(void)
{
	malloc_purge_in_background(false);
}

static void use_stats(void)
{
	stats_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, HIGH_FD);
	if (stats_fd < 0)
		stats_fd = STDERR_FILENO;
}

static const struct word {
	const char *name;
	void (*use)(void);
} words[] = {
	{ "classic", use_classic }, /* no slabs, no caches: the arenas alone */
	{ "nothread", use_nothread }, /* memory goes back as in glibc, by the program's own calls */
	{ "stats", use_stats },     /* a summary at exit */
};

static const struct {
	const char *name;
	int param;
} variables[] = {
	{ "MALLOC_ARENA_MAX", OPT_ARENA_MAX },
	{ "MALLOC_MMAP_MAX_", OPT_MMAP_MAX },
	{ "MALLOC_MMAP_THRESHOLD_", OPT_MMAP_THRESHOLD },
	{ "MALLOC_PERTURB_", OPT_PERTURB },
	{ "MALLOC_TOP_PAD_", OPT_TOP_PAD },
	{ "MALLOC_TRIM_THRESHOLD_", OPT_TRIM_THRESHOLD },
};

/* The program goes on as if the word were not there. */
static void complain(const char *word, size_t len)
{
	char buf[200];
	struct fmt f;

	fmt_init(&f, buf, sizeof(buf));
	fmt_str(&f, "steward: " VARIABLE ": unknown word ");
	for (size_t i = 0; i < len && i < 60; i++)
		fmt_char(&f, word[i]);
	fmt_str(&f, "; known are");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		fmt_str(&f, i == 0 ? " " : ", ");
		fmt_str(&f, words[i].name);
	}
	fmt_char(&f, '\n');
	syscall(SYS_write, STDERR_FILENO, f.buf, f.len);
}

static void use_word(const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].name) == len && memcmp(words[i].name, word, len) == 0) {
			words[i].use();
			return;
		}
	if (len != 0)
		complain(word, len);
}

static void use_words(const char *text)
{
	for (;;) {
		size_t len = strcspn(text, ",");

		use_word(text, len);
		if (text[len] == '\0')
			return;
		text += len + 1;
	}
}

/* The value if the line is NAME=VALUE, else NULL. */
static const char *value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	return strncmp(line, name, len) == 0 && line[len] == '=' ? line + len + 1 : NULL;
}

static void use_line(const char *line)
{
	const char *value = value_of(line, VARIABLE);

	if (value != NULL)
		use_words(value);
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
		if ((value = value_of(line, variables[i].name)) != NULL)
			stw_mallopt(variables[i].param, atoi(value));
}

void malloc_init(char **envp)
{
	if (getauxval(AT_SECURE) != 0)
		return;
	for (; *envp != NULL; envp++)
		use_line(*envp);
}

void malloc_exit(void)
{
	if (stats_fd >= 0)
		malloc_report(stats_fd);
}
