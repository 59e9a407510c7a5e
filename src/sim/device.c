/*
 * A device has `depth` places; a request takes the place that was taken longest ago, waits until that one is free and
 * the wire is, and is done after the transfer and its latency. That is a closed queue with one server for the transfer
 * and as many as there are places for the latency: a disk with depth 1 does one thing after the other, an SSD
 * overlaps latencies until its bandwidth is used up.
 */
#include "sim/device.h"

#include <string.h>

#include "base/assert.h"

void sim_device_init(struct sim_device *d, uint64_t read_ns, uint64_t write_ns, uint64_t bandwidth, uint32_t depth)
{
	memset(d, 0, sizeof(*d));
	d->read_ns = (double)read_ns;
	d->write_ns = (double)write_ns;
	d->ns_per_byte = bandwidth == 0 ? 0 : 1e9 / (double)bandwidth;
	d->depth = MIN(MAX(depth, 1u), SIM_QUEUE_MAX);
}

double sim_device_request(struct sim_device *d, double now, bool write, uint64_t bytes)
{
	double *place = &d->busy_until[d->next];
	double start = MAX(now, MAX(*place, d->wire_free));
	double transfer = (double)bytes * d->ns_per_byte;

	d->next = (d->next + 1) % d->depth;
	d->wire_free = start + transfer;
	*place = start + transfer + (write ? d->write_ns : d->read_ns);
	d->busy_ns += *place - start;
	if (write) {
		d->writes++;
		d->bytes_out += bytes;
	} else {
		d->reads++;
		d->bytes_in += bytes;
	}
	return *place;
}
