/*
 * A scraper comes every few seconds, gets some kilobytes and goes. So one client is
 * served at a time, in the launcher's tick, with calls that do not block: it waits up to
 * a twentieth of a second, the launcher never. A client that sends or takes nothing
 * for a second is left, for there may be others behind it.
 */
#include "cli/run/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/msg.h"

#define PATIENCE_TICKS 20

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int bad_address(const char *where)
{
	return msg_fail(EXIT_USAGE, "--metrics", "\"%s\" is no address; write it as unix:/run/job.sock, 127.0.0.1:9464 or [::1]:9464",
			where);
}

/* HOST is a number, localhost, or a number of IPv6 in brackets: nobody has to be asked for it. */
static bool parse_host(const char *host, unsigned port, union address *a, socklen_t *len)
{
	size_t n = strlen(host);
	char inner[64];

	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	*a = (union address){ .in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) } };
	*len = sizeof(a->in);
	if (inet_pton(AF_INET, host, &a->in.sin_addr) == 1)
		return true;
	if (n < 3 || n - 1 > sizeof(inner) || host[0] != '[' || host[n - 1] != ']')
		return false;
	memcpy(inner, host + 1, n - 2);
	inner[n - 2] = '\0';
	*a = (union address){ .in6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) } };
	*len = sizeof(a->in6);
	return inet_pton(AF_INET6, inner, &a->in6.sin6_addr) == 1;
}

static bool parse_tcp(const char *where, union address *a, socklen_t *len)
{
	const char *colon = strrchr(where, ':');
	unsigned long port;
	char host[64], *end;

	if (colon == NULL || (size_t)(colon - where) >= sizeof(host) || colon[1] < '0' || colon[1] > '9')
		return false;
	memcpy(host, where, (size_t)(colon - where));
	host[colon - where] = '\0';
	port = strtoul(colon + 1, &end, 10);
	return *end == '\0' && port <= 65535 && parse_host(host, (unsigned)port, a, len);
}

/* What a launcher that was killed has left behind: a socket to which nobody listens. */
static void remove_stale(const union address *a, socklen_t len)
{
	struct stat st;
	int fd;

	if (lstat(a->un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, &a->any, len) != 0 && errno == ECONNREFUSED)
		unlink(a->un.sun_path);
	if (fd >= 0)
		close(fd);
}

static int parse_unix(const char *path, union address *a, socklen_t *len)
{
	size_t n = strlen(path);

	if (n == 0)
		return msg_fail(EXIT_USAGE, "--metrics", "the path of the socket is missing; write it as unix:/run/job.sock");
	if (n >= sizeof(a->un.sun_path))
		return msg_fail(EXIT_USAGE, "--metrics", "%s: a socket's path has at most %zu bytes; give a shorter one", path,
				sizeof(a->un.sun_path) - 1);
	*a = (union address){ .un = { .sun_family = AF_UNIX } };
	memcpy(a->un.sun_path, path, n + 1);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

static int listen_at(struct metrics *m, const char *where, const union address *a, socklen_t len)
{
	int yes = 1;

	m->listen_fd = socket(a->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (m->listen_fd >= 0 && a->any.sa_family != AF_UNIX)
		setsockopt(m->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (m->listen_fd >= 0 && bind(m->listen_fd, &a->any, len) == 0 && listen(m->listen_fd, 8) == 0)
		return 0;
	int err = errno;

	if (m->listen_fd >= 0)
		close(m->listen_fd);
	return msg_fail(EXIT_STEWARD, where, "%s; give --metrics another address", strerror(err));
}

/* With port 0 the kernel has chosen one. */
static void tell_port(const struct metrics *m)
{
	union address a;
	socklen_t len = sizeof(a);

	if (getsockname(m->listen_fd, &a.any, &len) == 0)
		msg_note("metrics at port %u", ntohs(a.any.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port));
}

int metrics_open(struct metrics *m, const char *where, const struct ledger *l)
{
	bool local = strncmp(where, "unix:", 5) == 0;
	union address a;
	socklen_t len = 0;
	int err;

	if (local) {
		err = parse_unix(where + 5, &a, &len);
		if (err != 0)
			return err;
		remove_stale(&a, len);
	} else if (!parse_tcp(where, &a, &len)) {
		return bad_address(where);
	}
	err = listen_at(m, where, &a, len);
	if (err != 0)
		return err;
	if (local)
		memcpy(m->path, a.un.sun_path, sizeof(m->path));
	else if ((a.any.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port) == 0)
		tell_port(m);
	m->ledger = l;
	m->fd = -1;
	return 0;
}

void metrics_close(struct metrics *m)
{
	if (m->ledger == NULL)
		return;
	if (m->fd >= 0)
		close(m->fd);
	close(m->listen_fd);
	if (m->path[0] != '\0')
		unlink(m->path);
	sample_free(&m->sample);
	m->ledger = NULL;
}

/* What has not been read would take the answer away with it. */
static void hang_up(struct metrics *m)
{
	for (unsigned n = 0; n < 8 && recv(m->fd, m->request, sizeof(m->request), MSG_DONTWAIT) > 0; n++)
		;
	close(m->fd);
	m->fd = -1;
}

/* The head needs the length of what is behind it. */
static void answer(struct metrics *m, const char *status, bool with_metrics, bool with_body)
{
	static char body[METRICS_TEXT_MAX];
	struct fmt b;

	fmt_init(&b, body, sizeof(body));
	if (with_metrics && sample_take(&m->sample, m->ledger) == 0)
		metrics_text(&b, &m->sample);
	else
		fmt_str(&b, with_metrics ? "no memory\n" : "metrics are at /metrics\n");
	fmt_init(&m->answer, m->text, sizeof(m->text));
	fmt_str(&m->answer, "HTTP/1.1 ");
	fmt_str(&m->answer, status);
	fmt_str(&m->answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nConnection: close\r\nContent-Length: ");
	fmt_u64(&m->answer, b.len);
	fmt_str(&m->answer, "\r\n\r\n");
	if (with_body)
		fmt_str(&m->answer, body);
	m->sending = true;
	m->sent = 0;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* The request has come as a whole. */
static void understand(struct metrics *m)
{
	bool head = starts(m->request, "HEAD ");
	const char *target = m->request + (head ? 5 : 4);

	if (!head && !starts(m->request, "GET "))
		answer(m, "405 Method Not Allowed", false, true);
	else if (starts(target, "/metrics ") || starts(target, "/metrics?"))
		answer(m, "200 OK", true, !head);
	else
		answer(m, "404 Not Found", false, !head);
}

static void receive(struct metrics *m)
{
	ssize_t n = recv(m->fd, m->request + m->got, sizeof(m->request) - 1 - m->got, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		hang_up(m);
		return;
	}
	m->got += (size_t)MAX(n, 0);
	m->request[m->got] = '\0';
	if (memmem(m->request, m->got, "\r\n\r\n", 4) != NULL)
		understand(m);
	else if (m->got == sizeof(m->request) - 1)
		answer(m, "431 Request Header Fields Too Large", false, true);
}

static void send_some(struct metrics *m)
{
	ssize_t n = send(m->fd, m->answer.buf + m->sent, m->answer.len - m->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	m->sent += (size_t)MAX(n, 0);
	if (m->sent == m->answer.len || (n < 0 && errno != EAGAIN))
		hang_up(m);
}

static void welcome(struct metrics *m)
{
	m->fd = accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	m->until = m->ticks + PATIENCE_TICKS;
	m->got = 0;
	m->sending = false;
}

void metrics_tick(struct metrics *m)
{
	if (m->ledger == NULL)
		return;
	m->ticks++;
	if (m->fd < 0)
		welcome(m);
	if (m->fd >= 0 && !m->sending)
		receive(m);
	if (m->fd >= 0 && m->sending)
		send_some(m);
	if (m->fd >= 0 && m->ticks >= m->until)
		hang_up(m);
}
