/* By which way this process may have a userfaultfd, and what it can do. */
#ifndef STW_CLI_PROBE_H
#define STW_CLI_PROBE_H

#include "base/types.h"

#define PROBE_DEVICE "/dev/userfaultfd"

enum probe_way {
	PROBE_NONE,      /* not at all, or for faults of user mode only */
	PROBE_INHERITED, /* through a descriptor of the device that the caller left open */
	PROBE_DEVICE_OPEN,
	PROBE_SYSCALL,
};

struct probe {
	enum probe_way way;   /* the best one */
	int device_fd;        /* open descriptor of the device, close-on-exec; -1 without one */
	int device_err;       /* 0, or why the device gives no userfaultfd */
	int syscall_err;      /* 0, or why userfaultfd(2) gives none */
	int user_mode_err;    /* the same with UFFD_USER_MODE_ONLY */
	uint64_t features;    /* UFFD_FEATURE_… of the kernel; 0 if no way */
	int move_err;         /* 0: a page really moved; else -errno of UFFDIO_MOVE, -EOPNOTSUPP if the kernel has none */
	int sysctl;           /* vm.unprivileged_userfaultfd; -1 if the kernel has no such switch */
	bool seccomp;         /* a seccomp filter is on this process */
};

/* Tries everything; p->device_fd stays open. Leaves nothing else behind. */
void probe_userfaultfd(struct probe *p);

/* Is that enough for `steward run`? Features that no path can do without are there. */
bool probe_suffices(const struct probe *p);

/* Why not, and the one command that would help: two texts for "WHY; WHAT TO DO". */
const char *probe_why(const struct probe *p);
const char *probe_remedy(const struct probe *p);

/* Fills p; 0 if it suffices, else the exit status after having said why and what would help. */
int probe_require(struct probe *p);

#endif
