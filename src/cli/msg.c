#include "cli/msg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int write_all(int fd, const char *text, unsigned long len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (unsigned long)n;
	}
	return 0;
}

void msg_clean(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static void print_line(const char *what, const char *text, va_list args)
{
	char line[1024];
	int len = snprintf(line, sizeof(line), "steward: ");

	if (what != NULL)
		len += snprintf(line + len, 512, "%s: ", what);
	if (len > 512)
		len = 512;
	len += vsnprintf(line + len, sizeof(line) - (size_t)len - 1, text, args);
	if (len > (int)sizeof(line) - 2)
		len = (int)sizeof(line) - 2;

	msg_clean(line);
	line[len++] = '\n';
	/* One write: lines of several processes do not mix. Nobody is left to tell about an error. */
	(void)write_all(STDERR_FILENO, line, (unsigned long)len);
}

int msg_fail(int status, const char *what, const char *why, ...)
{
	va_list args;

	va_start(args, why);
	print_line(what, why, args);
	va_end(args);
	return status;
}

void msg_note(const char *text, ...)
{
	va_list args;

	va_start(args, text);
	print_line(NULL, text, args);
	va_end(args);
}
