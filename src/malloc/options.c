/*
 * What the environment says: STEWARD_MALLOC=WORD[,WORD…], and the variables of
 * glibc's allocator, which mean the same here. Read once, before the program
 * starts; a set-user-ID program does not listen.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/size.h"
#include "malloc/arena.h"
#include "malloc/control.h"
#include "malloc/profile.h"
#include "malloc/tcache.h"
#include "steward/malloc.h"

#define VARIABLE "STEWARD_MALLOC"

#define PROFILE_PERIOD ((uint64_t)512 * KIB)
#define HIGH_FD 210 /* out of the way of the program's */

/* Where the summary goes at exit: programs close stderr before. -1: none is wanted. */
static int stats_fd = -1;
static backtrace_fn *unwind;

/* Each: false if the value will not do. The value of a word that has none is empty. */

static bool use_secure(const char *value, size_t len)
{
	(void)value, (void)len;
	malloc_secure();
	return true;
}

static bool use_classic(const char *value, size_t len)
{
	(void)value, (void)len;
	tcache_enable(false);
	return true;
}

static bool use_nothread(const char *value, size_t len)
{
	(void)value, (void)len;
	malloc_purge_in_background(false);
	return true;
}

/* FILE[:BYTES] */
static bool use_profile(const char *value, size_t len)
{
	const char *colon = memrchr(value, ':', len);
	uint64_t period = PROFILE_PERIOD;
	char text[32] = "";

	if (colon != NULL) {
		size_t digits = len - (size_t)(colon + 1 - value);

		if (digits >= sizeof(text))
			return false;
		memcpy(text, colon + 1, digits);
		if (size_parse(text, &period) != 0)
			return false;
		len = (size_t)(colon - value);
	}
	return profile_start(value, len, period, unwind);
}

static bool use_stats(const char *value, size_t len)
{
	(void)value, (void)len;
	stats_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, HIGH_FD);
	if (stats_fd < 0)
		stats_fd = STDERR_FILENO;
	return true;
}

static const struct word {
	const char *name;
	bool (*use)(const char *value, size_t len);
} words[] = {
	{ "secure", use_secure },     /* slower, and more misuse is found (secure.c) */
	{ "classic", use_classic },   /* no slabs, no caches: the arenas alone */
	{ "nothread", use_nothread }, /* memory goes back as in glibc, by the program's own calls */
	{ "profile=", use_profile },  /* samples of who has the memory, written at exit */
	{ "stats", use_stats },       /* a summary at exit */
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

/* FILE and the like follow. */
static bool takes_value(const char *name)
{
	return name[strlen(name) - 1] == '=';
}

/* The program goes on as if the word were not there. */
static void complain(const char *word, size_t len)
{
	char buf[300];
	struct fmt f;

	fmt_init(&f, buf, sizeof(buf));
	fmt_str(&f, "steward: " VARIABLE ": unknown word ");
	for (size_t i = 0; i < len && i < 60; i++)
		fmt_char(&f, word[i]);
	fmt_str(&f, "; known are");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		fmt_str(&f, i == 0 ? " " : ", ");
		fmt_str(&f, words[i].name);
		if (takes_value(words[i].name))
			fmt_str(&f, "FILE[:BYTES]");
	}
	fmt_char(&f, '\n');
	syscall(SYS_write, STDERR_FILENO, f.buf, f.len);
}

static void use_word(const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i].name);

		if ((takes_value(words[i].name) ? len >= n : len == n) && memcmp(words[i].name, word, n) == 0 &&
		    words[i].use(word + n, len - n))
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
			malloc_set(variables[i].param, strtoull(value, NULL, 0));
}

void malloc_init(char **envp, backtrace_fn *fn)
{
	int saved_errno = errno;

	unwind = fn;
	if (getauxval(AT_SECURE) != 0)
		return;
	for (; *envp != NULL; envp++)
		use_line(*envp);
	errno = saved_errno; /* the program's first is 0, whatever was out of range */
}

void malloc_exit(void)
{
	if (stats_fd >= 0)
		malloc_report(stats_fd);
	profile_exit();
}
