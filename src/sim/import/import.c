#include "sim/import/import.h"

#include <stdlib.h>

#include "sim/import/reader.h"

const struct importer importers[] = {
	{ "lackey", "text of valgrind --tool=lackey --trace-mem=yes", false, true, import_lackey },
	{ "perf", "text of perf script, of the event page-faults", true, true, import_perf },
	{ "csv", "text: columns that a first line names, or a letter and an address a line", false, true, import_csv },
	{ "oracle-general", "libCacheSim's oracleGeneral: records of 24 bytes", false, false, import_oracle },
	{ "drmemtrace", "DynamoRIO's drmemtrace, offline: entries of 12 bytes", false, false, import_drmemtrace },
	{ "champsim", "ChampSim's instruction traces: records of 64 bytes", false, false, import_champsim },
};

const unsigned nr_importers = ARRAY_SIZE(importers);

const struct importer *importer_find(const char *name)
{
	for (unsigned i = 0; i < nr_importers; i++) {
		if (strcmp(importers[i].name, name) == 0)
			return &importers[i];
	}
	return NULL;
}

int import_fail(struct import *im, int err, const char *what)
{
	const struct source *s = &im->source;

	*im->error = (struct import_error){ .err = err, .what = what };
	im->error->where = im->kind->is_text ? IMPORT_LINE : IMPORT_BYTE;
	im->error->at = im->kind->is_text ? s->line : s->offset;
	return err;
}

int import_end(struct import *im, int err)
{
	const struct source *s = &im->source;

	if (s->err != 0) {
		bool packed = s->err == -EBADMSG || s->err == -ENODATA;

		*im->error = (struct import_error){ .err = s->err, .at = s->packed_at, .what = s->what };
		im->error->where = packed ? IMPORT_PACKED_BYTE : IMPORT_NOWHERE;
		return s->err;
	}
	if (err == -EMSGSIZE) {
		im->source.line++;
		return import_fail(im, -EBADMSG, "a line that does not end");
	}
	return err == -ENODATA ? import_fail(im, -ENODATA, "the last record is cut") : err;
}

static void fail_output(struct import_error *error, int err)
{
	*error = (struct import_error){ .err = err, .where = IMPORT_OUTPUT, .what = "it cannot be written" };
}

int import_event(struct import *im, const struct trace_event *e)
{
	int err = trace_write(im->out, e);

	if (unlikely(err == -EINVAL))
		return import_fail(im, -EBADMSG, trace_writer_why(im->out));
	if (unlikely(err != 0))
		fail_output(im->error, err);
	return err;
}

static int no_memory(struct import *im)
{
	return import_fail(im, -ENOMEM, "there is no memory for more tasks, threads or objects");
}

int import_task(struct import *im, uint64_t pid, const char *name, size_t len)
{
	struct trace_event e = { .op = TRACE_TASK, .text = name, .text_len = (uint32_t)MIN(len, TRACE_TEXT_MAX) };
	bool is_new;

	if (ids_number(&im->tasks, pid, &im->task, &is_new) != 0)
		return no_memory(im);
	if (!is_new)
		return 0;
	/* A NUL cannot be in it, but may be in damaged input. */
	e.task = im->task;
	e.thread = im->thread;
	e.text_len = (uint32_t)strnlen(name, e.text_len);
	return import_event(im, &e);
}

int import_thread(struct import *im, uint64_t tid)
{
	uint32_t number;
	bool is_new;

	if (ids_number(&im->threads, tid, &number, &is_new) != 0)
		return no_memory(im);
	if (number > UINT16_MAX)
		return import_fail(im, -EBADMSG, "more than 65536 threads");
	im->thread = (uint16_t)number;
	return 0;
}

int import_page(struct import *im, uint64_t vpn, uint64_t n, uint8_t flag)
{
	const struct trace_event e = { .op = TRACE_ACCESS, .flags = flag, .task = im->task, .thread = im->thread,
				       .vpn = vpn, .n = n };

	im->touched = true;
	return import_event(im, &e);
}

int import_touch(struct import *im, uint64_t address, uint64_t size, uint64_t n, uint8_t flag)
{
	uint64_t last = address + size - (size > 0);
	int err = 0;

	if (unlikely(last < address || size > IMPORT_SIZE_MAX))
		return import_fail(im, -EBADMSG, "an access of more bytes than can be");
	for (uint64_t vpn = address >> TRACE_PAGE_SHIFT; vpn <= last >> TRACE_PAGE_SHIFT && err == 0; vpn++)
		err = import_page(im, vpn, n, flag);
	return err;
}

int import_run(const struct importer *kind, int in, int out, struct import_error *error)
{
	struct import *im = calloc(1, sizeof(*im));
	int err;

	*error = (struct import_error){ .err = -ENOMEM, .what = "there is no memory for the import" };
	if (im == NULL)
		return -ENOMEM;
	im->kind = kind;
	im->error = error;
	err = trace_writer_open(&im->out, out, kind->sampled);
	if (err == 0)
		err = source_open(&im->source, in);
	if (im->source.err != 0)
		err = import_end(im, err);
	if (err == 0)
		err = kind->run(im);
	if (err == 0 && !im->touched) {
		err = -EBADMSG;
		*error = (struct import_error){ .err = err, .what = "there is no access in it" };
	}
	if (err == 0) {
		err = trace_writer_close(im->out);
		fail_output(error, err);
	} else {
		trace_writer_abort(im->out);
	}
	source_close(&im->source);
	ids_free(&im->tasks);
	ids_free(&im->threads);
	ids_free(&im->objects);
	free(im);
	return err;
}
