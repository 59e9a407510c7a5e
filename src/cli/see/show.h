/* How the figures of a run look, the same in ps, stat, maps and top: texts for people, fields of JSON. */
#ifndef STW_CLI_SEE_SHOW_H
#define STW_CLI_SEE_SHOW_H

#include "cli/json.h"
#include "cli/see/sample.h"

/* Pages as a size of four digits at most: "0", "96K", "1.5G", "1023M". Sixteen texts may be alive at once, of both. */
const char *show_pages(uint64_t pages);
/* The same for bytes, rounded up to pages. */
const char *show_bytes(uint64_t bytes);
/* part of whole in per cent, one decimal; "0.0" if there is no whole. */
const char *show_share(uint64_t part, uint64_t whole);

/* A count in five characters: "99999", "100k". */
const char *show_count(uint64_t n);
/* A time in seven characters: "0.5us", "212.0us", "12.3ms", "1.5s". */
const char *show_time(uint64_t ns);
/* 15 as "1.5". */
const char *show_tenths(uint64_t tenths);

/* What ps, stat and top say of a run or a process, into an object that is open. docs/see-schema.md has it. */
void show_json_run(struct json *j, const struct sample *s);
void show_json_process(struct json *j, const struct sample_process *p);
/* What its malloc has, under the key "heap"; class: NULL, or also by size of blocks. */
void show_json_heap(struct json *j, const struct heap_sum *h, const struct heap_class *class);
/* By how much each counter rose between two samples. */
void show_json_rises(struct json *j, const char *key, const uint64_t *before, const uint64_t *now);
/* What was printed has arrived. j: NULL, or the JSON that ends here. 0, or 1 after having said why. */
int show_finish(struct json *j);

#endif
