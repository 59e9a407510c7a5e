/*
 * A thread for each connection. It takes what is asked for (store/remote.h), pages that follow one another as one
 * request, up to DEPTH requests at a time, and waits for whichever is done first.
 *
 *     remote_take ──► aio_pread, aio_pwrite ──► poll ──► completed ──► remote_done
 *          ▲                                      │
 *          └── remote_requeue ◄── connection lost, or a request older than REQUEST_NS
 *
 * It sleeps for both, the bell and the socket (store/futexfd.h): what is asked for while something is under way goes out at once.
 *
 * A server that hangs looks like one that is slow, up to REQUEST_NS. Then the connection is given up, what it had is asked
 * for again over others, and a new one is tried, again and again. While an area has no connection its `down` is set:
 * processes send their pages elsewhere, and wait for those that they need until their own deadline.
 *
 * Rate: a request moves the moment on at which the next one may be sent, for all connections of an area together.
 */
#include "cli/run/nbd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/msg.h"
#include "cli/run/libnbd.h"
#include "live/clock.h"

_Static_assert(REMOTE_AREAS == SWAP_SPECS, "any area may be on a server");

#define DEPTH 16               /* requests: with so many under way no more pages are taken */
#define CONNECT_NS 5000000000  /* 5 s */
#define REQUEST_NS 5000000000  /* 5 s */
#define PART_NS 100000000      /* 0.1 s */
#define RECONNECT_MS 250
#define IDLE_MS 200            /* longest sleep */
#define BUSY_MS 1              /* the same where only one of two can be slept for, or the rate lets nothing out */
#define STACK_BYTES (256 * KIB) /* TLS needs some */

struct area {
	struct ledger *ledger;
	unsigned leg;               /* store/remote.h */
	pthread_mutex_t lock;       /* for up and what follows from it */
	uint32_t up;                /* connections */
	_Atomic uint64_t free_at;   /* ns: no request before, for the rate's sake */
};

/* Pages that follow one another, on their way. */
struct request {
	struct remote_request page[STORE_BATCH];
	unsigned n;
	int64_t cookie;
	uint64_t since;
};

struct connection {
	struct area *area;
	struct nbd_handle *h;       /* NULL: none */
	bool was_up;
	struct futexfd bell;        /* tells of the bell */
	struct haltpoll_user haltpoll;
	struct request request[DEPTH + STORE_BATCH];
	unsigned nr;
	pthread_t thread;
};

static struct area areas[REMOTE_LEGS];
static struct connection connections[REMOTE_LEGS * SWAP_CONNECTIONS_MAX];
static unsigned nr_connections;
static _Atomic bool stop;

/* Connects within CONNECT_NS; NULL: *refusal says why not. */
static struct nbd_handle *connect_to(const char *uri, struct nbd_refusal *refusal)
{
	struct nbd_handle *h = nbd.create();
	uint64_t until = now_ns() + CONNECT_NS;

	refusal->what_to_do = "see that the server runs and has that export";
	if (h != NULL && nbd.set_uri_allow_local_file(h, true) == 0 && nbd.aio_connect_uri(h, uri) == 0) {
		while (nbd.aio_is_ready(h) == 0 && nbd.aio_is_dead(h) == 0 && nbd.aio_is_closed(h) == 0 && now_ns() < until &&
		       !atomic_load(&stop))
			if (nbd.poll(h, 100) < 0)
				break;
		if (nbd.aio_is_ready(h) == 1)
			return h;
	}
	const char *error = now_ns() >= until ? "it does not answer" : nbd.get_error();

	snprintf(refusal->why, sizeof(refusal->why), "%s", error != NULL ? error : "no connection");
	if (h != NULL)
		nbd.close(h);
	return NULL;
}

/* Says goodbye to a server that listens. */
static void part(struct nbd_handle *h)
{
	uint64_t until = now_ns() + PART_NS;

	if (nbd.aio_disconnect(h, 0) == 0)
		while (nbd.aio_is_closed(h) == 0 && nbd.aio_is_dead(h) == 0 && now_ns() < until && nbd.poll(h, 10) >= 0)
			;
	nbd.close(h);
}

static int refuse(struct nbd_refusal *refusal, const char *why, const char *what_to_do)
{
	snprintf(refusal->why, sizeof(refusal->why), "%s", why);
	refusal->what_to_do = what_to_do;
	return -1;
}

/* Size and first page of an export that is connected. */
static int look_at(struct nbd_handle *h, uint64_t *bytes, void *first_page, struct nbd_refusal *refusal)
{
	uint64_t until = now_ns() + REQUEST_NS;
	int64_t size = nbd.get_size(h), cookie;
	int done = 0;

	if (nbd.is_read_only(h) != 0)
		return refuse(refusal, "the export is read-only", "let the server serve it for writing");
	if (size < (int64_t)(2 * PAGE_SIZE))
		return refuse(refusal, "it is too small to hold a page", "make it larger");
	cookie = nbd.aio_pread(h, first_page, PAGE_SIZE, 0, NBD_NULL_COMPLETION, 0);
	while (cookie > 0 && (done = nbd.aio_command_completed(h, (uint64_t)cookie)) == 0 && now_ns() < until)
		nbd.poll(h, 100);
	*bytes = (uint64_t)size;
	return done == 1 ? 0 : refuse(refusal, "it cannot be read", "see what the server says");
}

int nbd_try(const char *uri, uint64_t *bytes, void *first_page, struct nbd_refusal *refusal)
{
	struct nbd_handle *h;

	if (libnbd_load() != 0)
		return refuse(refusal, "libnbd is not installed", "install it: libnbd0");
	h = connect_to(uri, refusal);
	if (h == NULL)
		return -1;
	int err = look_at(h, bytes, first_page, refusal);

	part(h);
	return err;
}

static struct remote *remote_of(const struct connection *c)
{
	return &c->area->ledger->remote;
}

static const struct swap_spec *spec_of(const struct connection *c)
{
	return &c->area->ledger->swap[c->area->leg % SWAP_SPECS];
}

static const char *uri_of(const struct connection *c)
{
	return c->area->leg < SWAP_SPECS ? spec_of(c)->path : spec_of(c)->mirror;
}

/* The first connection of an area comes, or the last one goes. */
static void count_up(struct connection *c, bool up)
{
	pthread_mutex_lock(&c->area->lock);
	bool before = c->area->up > 0;

	c->area->up += up ? 1u : -1u;
	bool changed = before != (c->area->up > 0);

	if (changed)
		atomic_store(&remote_of(c)->down[c->area->leg], !up);
	pthread_mutex_unlock(&c->area->lock);
	if (!changed)
		return;
	if (!up && !atomic_load(&stop))
		msg_note("%s: connection lost; pages go elsewhere, and who needs one from there waits up to %u s", uri_of(c),
			 spec_of(c)->deadline_s);
	else if (c->was_up)
		msg_note("%s: connected again", uri_of(c));
}

static void disconnect(struct connection *c)
{
	/* After this nobody writes to the pages that were asked for. */
	nbd.close(c->h);
	c->h = NULL;
	for (unsigned i = 0; i < c->nr; i++)
		for (unsigned k = 0; k < c->request[i].n; k++)
			remote_requeue(remote_of(c), &c->request[i].page[k]);
	c->nr = 0;
	c->was_up = true;
	count_up(c, false);
}

/* False: there is none now. */
static bool connect_again(struct connection *c)
{
	const struct timespec pause = { .tv_nsec = RECONNECT_MS * 1000000l };
	struct nbd_refusal refusal;

	c->h = connect_to(uri_of(c), &refusal);
	if (c->h == NULL) {
		nanosleep(&pause, NULL);
		return false;
	}
	count_up(c, true);
	return true;
}

/* Bytes of the request go on the account of the rate. */
static void account(struct connection *c, unsigned pages)
{
	uint64_t rate = spec_of(c)->rate, at = atomic_load(&c->area->free_at), now = now_ns();

	if (rate == 0)
		return;
	while (!atomic_compare_exchange_weak(&c->area->free_at, &at, MAX(at, now) + pages * PAGE_SIZE * 1000000000 / rate))
		;
}

static bool may_send(const struct connection *c)
{
	return spec_of(c)->rate == 0 || now_ns() >= atomic_load(&c->area->free_at);
}

static void send_request(struct connection *c, const struct remote_request *r, unsigned n)
{
	struct request *q = &c->request[c->nr];
	const struct remote_entry *first = &r[0].ring->entry[r[0].entry];
	void *data = r[0].ring->data[r[0].entry];

	memcpy(q->page, r, n * sizeof(*r));
	q->n = n;
	q->since = now_ns();
	if (first->out)
		q->cookie = nbd.aio_pwrite(c->h, data, n * PAGE_SIZE, first->page * PAGE_SIZE, NBD_NULL_COMPLETION, 0);
	else
		q->cookie = nbd.aio_pread(c->h, data, n * PAGE_SIZE, first->page * PAGE_SIZE, NBD_NULL_COMPLETION, 0);
	account(c, n);
	c->nr++;
}

static bool follows(const struct remote_request *a, const struct remote_request *b)
{
	const struct remote_entry *ea = &a->ring->entry[a->entry], *eb = &b->ring->entry[b->entry];

	return a->ring == b->ring && b->entry == a->entry + 1 && ea->out == eb->out && eb->page == ea->page + 1;
}

/* One batch of pages; each of its runs is a request. False: there is none, or no room. */
static bool send_some(struct connection *c)
{
	struct remote_request page[STORE_BATCH];

	if (c->nr >= DEPTH || !may_send(c))
		return false;
	/* Even if no two of them follow one another there is room for all. */
	unsigned n = remote_take(remote_of(c), c->area->leg, page, STORE_BATCH);

	for (unsigned i = 0, len; i < n; i += len) {
		for (len = 1; i + len < n && follows(&page[i + len - 1], &page[i + len]); len++)
			;
		send_request(c, page + i, len);
	}
	return n > 0;
}

/* Until the server says something, or may be told more, or the bell differs from seen. */
static void sleep_for_both(struct connection *c, int bell_fd)
{
	bool sends = nbd.aio_get_direction(c->h) & LIBNBD_AIO_DIRECTION_WRITE;
	struct pollfd p[2] = {
		{ .fd = nbd.aio_get_fd(c->h), .events = sends ? POLLIN | POLLOUT : POLLIN },
		{ .fd = bell_fd, .events = POLLIN },
	};

	uint64_t since = c->nr > 0 ? now_ns() : 0;

	if (since > 0)
		haltpoll_begin(&c->haltpoll, &c->area->ledger->haltpoll, sched_getcpu(), since);
	poll(p, 2, may_send(c) ? IDLE_MS : BUSY_MS);
	if (since > 0)
		haltpoll_end(&c->haltpoll, now_ns() - since);
	futexfd_heard(&c->bell);
	nbd.poll(c->h, 0);
}

/* The same as well as it can be done: of the two only that which is more urgent. */
static void sleep_for_one(struct connection *c, uint32_t seen)
{
	if (c->nr == 0 && may_send(c))
		remote_wait(remote_of(c), seen, IDLE_MS);
	nbd.poll(c->h, c->nr > 0 || !may_send(c) ? BUSY_MS : 0);
}

static int error_of(int nbd_errno)
{
	return nbd_errno == ENOSPC ? -ENOSPC : -EIO;
}

/* False: the connection is not worth keeping. */
static bool take_results(struct connection *c)
{
	uint64_t now = now_ns();

	for (unsigned i = 0; i < c->nr;) {
		struct request *q = &c->request[i];
		int done = q->cookie < 0 ? -1 : nbd.aio_command_completed(c->h, (uint64_t)q->cookie);

		if (nbd.aio_is_dead(c->h) != 0 || nbd.aio_is_closed(c->h) != 0 || (done == 0 && now - q->since > REQUEST_NS))
			return false;
		if (done == 0) {
			i++;
			continue;
		}
		remote_done(q->page, q->n, done == 1 ? 0 : error_of(nbd.get_errno()));
		*q = c->request[--c->nr];
	}
	return nbd.aio_is_dead(c->h) == 0 && nbd.aio_is_closed(c->h) == 0;
}

static void *serve(void *arg)
{
	struct connection *c = arg;

	while (!atomic_load(&stop)) {
		uint32_t seen = atomic_load(&remote_of(c)->bell);

		if (c->h == NULL && !connect_again(c))
			continue;
		while (send_some(c))
			;
		int bell_fd = futexfd_poll(&c->bell, &remote_of(c)->bell, seen);

		if (bell_fd >= 0)
			sleep_for_both(c, bell_fd);
		else
			sleep_for_one(c, seen);
		if (!take_results(c))
			disconnect(c);
	}
	if (c->h != NULL)
		part(c->h);
	futexfd_close(&c->bell);
	return NULL;
}

/* The export of a leg; NULL: there is none. */
static const char *leg_uri(const struct ledger *l, unsigned leg)
{
	const struct swap_spec *spec = &l->swap[leg % SWAP_SPECS];

	if (leg % SWAP_SPECS >= l->nr_swap || spec->kind != SWAP_NBD)
		return NULL;
	return leg < SWAP_SPECS ? spec->path : spec->mirror[0] != '\0' ? spec->mirror : NULL;
}

static bool is_up(const struct ledger *l, unsigned leg)
{
	return leg_uri(l, leg) != NULL && atomic_load(&l->remote.down[leg]) == 0;
}

/* A server of an area that nobody can reach; NULL: there is none. */
static const char *missing_server(const struct ledger *l)
{
	for (unsigned area = 0; area < REMOTE_AREAS; area++)
		if (leg_uri(l, area) != NULL && !is_up(l, area) && !is_up(l, area + REMOTE_AREAS))
			return leg_uri(l, area);
	return NULL;
}

/* They were there a moment ago; what a program sends before they are there again would go elsewhere. */
static void wait_for_servers(const struct ledger *l)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	uint64_t until = now_ns() + CONNECT_NS;

	for (unsigned leg = 0; leg < REMOTE_LEGS; leg++)
		while (leg_uri(l, leg) != NULL && atomic_load(&l->remote.down[leg]) != 0 && now_ns() < until)
			nanosleep(&moment, NULL);
}

static void start_leg(struct ledger *l, unsigned leg, const pthread_attr_t *attr)
{
	areas[leg] = (struct area){ .ledger = l, .leg = leg, .lock = PTHREAD_MUTEX_INITIALIZER };
	l->remote.areas |= 1u << leg % SWAP_SPECS;
	/* Until the first one is there. */
	atomic_store(&l->remote.down[leg], 1);
	for (unsigned k = 0; k < l->swap[leg % SWAP_SPECS].connections; k++) {
		struct connection *c = &connections[nr_connections];

		c->area = &areas[leg];
		nr_connections += pthread_create(&c->thread, attr, serve, c) == 0;
	}
}

int nbd_start(struct ledger *l)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (unsigned leg = 0; leg < REMOTE_LEGS; leg++)
		if (leg_uri(l, leg) != NULL)
			start_leg(l, leg, &attr);
	pthread_attr_destroy(&attr);
	wait_for_servers(l);
	const char *missing = missing_server(l);

	if (missing == NULL)
		return 0;
	nbd_stop(l);
	return msg_fail(EXIT_STEWARD, missing,
			"it took one connection and then no other; let it serve several, one after the other too (qemu-nbd --persistent)");
}

void nbd_stop(struct ledger *l)
{
	atomic_store(&stop, true);
	remote_ring_bell(&l->remote);
	for (unsigned i = 0; i < nr_connections; i++)
		pthread_join(connections[i].thread, NULL);
}
