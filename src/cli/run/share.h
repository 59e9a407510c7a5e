/*
 * What the launcher shares with every process of a run: the ledger, and a
 * descriptor of /dev/userfaultfd.
 *
 * Both are inherited as open descriptors with high numbers, named by the
 * environment variable STEWARD_RUN:
 *
 *     STEWARD_RUN=SOCKET:LEDGERFD:INODE:UFFDFD
 *
 *     SOCKET    name of an abstract Unix socket, without the leading NUL
 *     LEDGERFD  number of the ledger's memfd
 *     INODE     its inode (fstat): a descriptor with that number and another
 *               inode is a file of the program
 *     UFFDFD    number of the device's descriptor; -1: use userfaultfd(2)
 *
 * A process whose parent closed the descriptors (subprocess, daemons) asks the
 * socket: connect (SOCK_SEQPACKET) and receive one message, which carries
 *
 *     payload     int32_t: the caller's pid as the launcher sees it
 *     SCM_RIGHTS  [ledger] or [ledger, device], close-on-exec up to the receiver
 *
 * The launcher answers its own user and root (SO_PEERCRED), nobody else.
 */
#ifndef STW_CLI_RUN_SHARE_H
#define STW_CLI_RUN_SHARE_H

#include "live/ledger.h"

struct share {
	struct ledger *ledger;
	int ledger_fd; /* inherited by the command */
	int device_fd; /* the same; -1 without a device */
	int listen_fd; /* close-on-exec, does not block */
	char env[128]; /* "STEWARD_RUN=…" */
};

/*
 * Makes ledger and socket, and takes device_fd over (-1: none). The ledger of a
 * run of command is zero but for magic, size and what names the run. Returns 0,
 * or EXIT_STEWARD after having said why.
 */
int share_open(struct share *s, int device_fd, const char *command);

/*
 * Sets the variables that the command finds us by; s stays. Ours is first in LD_PRELOAD: it must see mmap before
 * others do. Returns 0, or EXIT_STEWARD after having said why.
 */
int share_environment(struct share *s, const char *preload);

/* Answers everybody who waits at the socket. Never blocks. */
void share_serve(struct share *s);

/* Bytes of memory that the ledger occupies at the moment. */
uint64_t share_ledger_bytes(const struct share *s);

#endif
