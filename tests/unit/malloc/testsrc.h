/*
 * A source of pages that believes nothing: a reserved range of addresses with
 * one state a page. A discarded page is inaccessible until it is revived and
 * comes back full of garbage; every call must fit the state of its pages, or
 * the test program aborts.
 */
#ifndef STW_TESTS_MALLOC_TESTSRC_H
#define STW_TESTS_MALLOC_TESTSRC_H

#include "malloc/pagesrc.h"

extern const struct pagesrc testsrc;

/* The set-up of a group of tests: from now on the allocator stands on it. */
int testsrc_use(void **unused);

/* The n-th map, remap or growing extend from now fails (1: the next), then all while `forever`. 0: none. */
void testsrc_fail(uint64_t nth, bool forever);
/* True if the armed failure came. */
bool testsrc_failed(void);

/* Somebody else moves the break, if there is one left. */
void testsrc_steal_break(size_t bytes);
/* From now on extend gives nothing. */
void testsrc_refuse_break(void);

/* The discarded pages are exactly those that the allocator believes discarded, and those of arenas that it abandoned in a fork. */
void testsrc_check_discarded(void);

/* Around fork: the child finds this source's own lock free. */
void testsrc_fork_prepare(void);
void testsrc_fork_done(void);

/* Pages handed out and not taken back; those among them that are discarded. */
size_t testsrc_pages(void);
size_t testsrc_discarded(void);

#endif
