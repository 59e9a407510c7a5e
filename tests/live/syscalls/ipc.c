/* Sockets, pipes and another process's memory. */
#include "syscalls.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Sends from the region and receives into it, with a thread at the other end for amounts no socket buffer holds. */
struct transfer {
	int fd;
	size_t from, n;
};

static void *send_all(void *arg)
{
	struct transfer *t = arg;
	size_t done = 0;

	while (done < t->n * PAGE) {
		ssize_t got = send(t->fd, page_at(t->from) + done, t->n * PAGE - done, MSG_NOSIGNAL);

		must(got > 0, "send");
		done += (size_t)got;
	}
	return NULL;
}

void mode_send_recv(void)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
	for (unsigned k = 0; k < CALLS / 3; k++) {
		size_t n = 1 + below64(&seed, 200), from = below64(&seed, pages / 2 - n), to = pages / 2 + below64(&seed, pages / 2 - n);
		struct transfer t = { pair[0], from, n };
		pthread_t sender;

		must(pthread_create(&sender, NULL, send_all, &t) == 0, "pthread_create");
		for (size_t done = 0; done < n * PAGE;) {
			ssize_t got = recv(pair[1], page_at(to) + done, n * PAGE - done, 0);

			must(got > 0, "recv");
			done += (size_t)got;
		}
		pthread_join(sender, NULL);
		for (size_t j = 0; j < n; j++)
			must(page_check(page_at(to + j), (uintptr_t)page_at(from + j), gens[from + j]) < 0, "page %zu arrived wrong", from + j);
		restore(to, n);
	}
	close(pair[0]);
	close(pair[1]);
}

/* Header, vector, control data and contents all lie in different paged-out places. */
void mode_sendmsg(void)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
	for (unsigned k = 0; k < CALLS; k++) {
		size_t a = below64(&seed, pages / 4), b = pages / 4 + below64(&seed, pages / 4);
		size_t c = pages / 2 + below64(&seed, pages / 4), d = pages / 4 * 3 + below64(&seed, pages / 4);
		struct msghdr *msg = (void *)page_at(a);
		struct iovec *iov = (void *)(page_at(b) + 64);

		*msg = (struct msghdr){ .msg_iov = iov, .msg_iovlen = 1 };
		*iov = (struct iovec){ page_at(c), PAGE };
		must(sendmsg(pair[0], msg, 0) == PAGE, "sendmsg");
		iov->iov_base = page_at(d);
		must(recvmsg(pair[1], msg, 0) == PAGE, "recvmsg");
		must(page_check(page_at(d), (uintptr_t)page_at(c), gens[c]) < 0, "the message arrived wrong");
		restore(a, 1);
		restore(b, 1);
		restore(d, 1);
	}
	close(pair[0]);
	close(pair[1]);
}

void mode_pipe(void)
{
	int ends[2];

	must(pipe(ends) == 0, "pipe");
	for (unsigned k = 0; k < CALLS; k++) {
		size_t from = pick(4), to = pick(4);

		must(write(ends[1], page_at(from), 4 * PAGE) == 4 * PAGE, "write to the pipe");
		unsigned char copy[4 * PAGE];
		memcpy(copy, page_at(from), sizeof(copy));
		must(read(ends[0], page_at(to), 4 * PAGE) == 4 * PAGE, "read from the pipe");
		must(memcmp(copy, page_at(to), sizeof(copy)) == 0, "the pipe changed the data");
		restore(to, 4);
	}
	close(ends[0]);
	close(ends[1]);
}

/* The pipe holds references to the pages themselves: a pinned page may be evicted late, never wrongly. */
void mode_vmsplice(void)
{
	unsigned char back[8 * PAGE];
	int ends[2];

	must(pipe(ends) == 0, "pipe");
	for (unsigned k = 0; k < CALLS; k++) {
		size_t from = pick(8);
		struct iovec iov = { page_at(from), 8 * PAGE };

		must(vmsplice(ends[1], &iov, 1, 0) == 8 * PAGE, "vmsplice");
		for (unsigned j = 0; j < 64; j++)
			verify(below64(&seed, pages), 1);
		must(read(ends[0], back, sizeof(back)) == (ssize_t)sizeof(back), "read from the pipe");
		for (size_t j = 0; j < 8; j++)
			must(page_check(back + j * PAGE, (uintptr_t)page_at(from + j), gens[from + j]) < 0, "spliced page %zu", from + j);
		verify(from, 8);
		restore(from, 8);
	}
	close(ends[0]);
	close(ends[1]);
}

/* Another process reads and writes our paged-out pages, and we read its. */
void mode_process_vm(void)
{
	unsigned char copy[PAGE];

	for (unsigned k = 0; k < CALLS; k++) {
		size_t i = pick(1), j = (i + pages / 2) % pages;
		struct iovec here = { copy, PAGE }, there = { page_at(i), PAGE };

		must(process_vm_readv(getpid(), &here, 1, &there, 1, 0) == PAGE, "process_vm_readv");
		must(page_check(copy, (uintptr_t)page_at(i), gens[i]) < 0, "process_vm_readv read page %zu wrong", i);
		there.iov_base = page_at(j);
		must(process_vm_writev(getpid(), &here, 1, &there, 1, 0) == PAGE, "process_vm_writev");
		must(page_check(page_at(j), (uintptr_t)page_at(i), gens[i]) < 0, "process_vm_writev wrote page %zu wrong", j);
		restore(j, 1);
	}
}
