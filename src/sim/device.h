/* How long requests of a modelled device take: latency, bandwidth, so many at once. */
#ifndef STW_SIM_DEVICE_H
#define STW_SIM_DEVICE_H

#include "base/types.h"

#define SIM_QUEUE_MAX 256

struct sim_device {
	double read_ns, write_ns;  /* of one request, without the transfer */
	double ns_per_byte;        /* of the wire, which requests use in turn; 0: none */
	uint32_t depth;            /* requests at once, 1 to SIM_QUEUE_MAX */
	double wire_free;          /* ns: the wire is taken until then */
	double busy_until[SIM_QUEUE_MAX]; /* of each place in the queue */
	uint32_t next;             /* place of the next request */
	uint64_t reads, writes, bytes_in, bytes_out;
	double busy_ns;            /* Σ over requests */
};

/* bandwidth in bytes a second, 0: unlimited. */
void sim_device_init(struct sim_device *d, uint64_t read_ns, uint64_t write_ns, uint64_t bandwidth, uint32_t depth);
/* A request of so many bytes that comes at `now`; returns when it is done. Requests must come in order of time, about. */
double sim_device_request(struct sim_device *d, double now, bool write, uint64_t bytes);

#endif
