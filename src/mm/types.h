/*
 * Page numbers as one-field structs, so that a frame number, a page number, an
 * index and a count cannot be mixed.
 */
#ifndef STW_MM_TYPES_H
#define STW_MM_TYPES_H

#include "base/types.h"

/* Physical frame number. 32 bits of 4 KiB frames: 16 TiB of memory. */
typedef struct {
	uint32_t n;
} pfn_t;

/* Virtual page number: address >> PAGE_SHIFT. */
typedef struct {
	uint64_t n;
} vpn_t;

/* Swap entry: area number and slot in it. v == 0 is "none": slot 0 of every area is unusable, as in Linux. */
typedef struct {
	uint64_t v;
} swp_t;

#define SWP_OFFSET_BITS 47
#define SWP_AREAS_MAX 23 /* Linux's limit: 5 type bits less the special types */

static inline vpn_t vpn_of(uint64_t address) { return (vpn_t){ address >> PAGE_SHIFT }; }
static inline uint64_t vpn_address(vpn_t vpn) { return vpn.n << PAGE_SHIFT; }

static inline swp_t swp_make(unsigned area, uint64_t slot)
{
	return (swp_t){ (uint64_t)area << SWP_OFFSET_BITS | slot };
}
static inline unsigned swp_area(swp_t s) { return (unsigned)(s.v >> SWP_OFFSET_BITS); }
static inline uint64_t swp_slot(swp_t s) { return s.v & (((uint64_t)1 << SWP_OFFSET_BITS) - 1); }
static inline bool swp_none(swp_t s) { return s.v == 0; }

#endif
