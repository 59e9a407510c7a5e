/* Reading and writing files: buffers, vectors and whole regions in paged-out memory. */
#include "syscalls.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

void mode_read(void)
{
	for (unsigned k = 0; k < CALLS; k++) {
		size_t n = 1 + below64(&seed, 32), i = pick(n), from = below64(&seed, FILE_PAGES - n);

		must(lseek(file, (off_t)(from * PAGE), SEEK_SET) >= 0, "lseek");
		must(read(file, page_at(i), n * PAGE) == (ssize_t)(n * PAGE), "read of %zu pages", n);
		verify_file_pages(page_at(i), n, from);
		restore(i, n);
	}
}

void mode_write(void)
{
	int fd = temp_file();
	unsigned char back[PAGE];

	for (unsigned k = 0; k < CALLS; k++) {
		size_t n = 1 + below64(&seed, 32), i = pick(n);

		must(lseek(fd, 0, SEEK_SET) == 0, "lseek");
		must(write(fd, page_at(i), n * PAGE) == (ssize_t)(n * PAGE), "write of %zu pages", n);
		for (size_t j = 0; j < n; j++) {
			must(pread(fd, back, PAGE, (off_t)(j * PAGE)) == PAGE, "pread");
			must(page_check(back, (uintptr_t)page_at(i + j), gens[i + j]) < 0, "page %zu was written wrong", i + j);
		}
	}
	close(fd);
}

void mode_pread_pwrite(void)
{
	int fd = temp_file();

	for (unsigned k = 0; k < CALLS; k++) {
		size_t i = pick(2), from = below64(&seed, FILE_PAGES - 2), to = pick(1);

		/* Not aligned: the buffer begins in one page and ends in the next. */
		must(pread(file, page_at(i) + 1000, PAGE, (off_t)(from * PAGE)) == PAGE, "pread");
		must(pwrite(fd, page_at(i) + 1000, PAGE, 12345) == PAGE, "pwrite");
		restore(i, 2);
		must(pread(fd, page_at(to), PAGE, 12345) == PAGE, "pread of what was written");
		verify_file_pages(page_at(to), 1, from);
		restore(to, 1);
	}
	close(fd);
}

/* The vector itself is paged out, and so are the eight pages it names. */
static void scatter(struct iovec *iov, size_t *at)
{
	for (size_t j = 0; j < 8; j++) {
		at[j] = pages / 16 * (2 * j) + below64(&seed, pages / 16);
		iov[j] = (struct iovec){ page_at(at[j]), PAGE };
	}
}

void mode_readv_writev(void)
{
	int fd = temp_file();
	unsigned char back[PAGE];
	size_t at[8];

	for (unsigned k = 0; k < CALLS; k++) {
		size_t home = pages / 16 + below64(&seed, pages / 16), from = below64(&seed, FILE_PAGES - 8);
		struct iovec *iov = (struct iovec *)(page_at(home) + 8 * below64(&seed, 128));

		scatter(iov, at);
		for (unsigned j = 0; j < 16; j++) /* push the vector out again */
			verify(pages / 2 + pages / 16 + below64(&seed, pages / 16), 1);
		must(preadv(file, iov, 8, (off_t)(from * PAGE)) == 8 * PAGE, "preadv");
		must(pwritev(fd, iov, 8, 0) == 8 * PAGE, "pwritev");
		for (size_t j = 0; j < 8; j++) {
			verify_file_pages(page_at(at[j]), 1, from + j);
			restore(at[j], 1);
			must(pread(fd, back, PAGE, (off_t)(j * PAGE)) == PAGE && page_check(back, from + j, 7) < 0,
			     "pwritev wrote part %zu wrong", j);
		}
		restore(home, 1);
	}
	close(fd);
}

/* O_DIRECT: the device writes to the pages themselves. */
void mode_direct(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	int fd = open(path, O_RDONLY | O_DIRECT);
	if (fd < 0)
		return skip("no O_DIRECT in $TMPDIR");
	for (unsigned k = 0; k < CALLS / 3; k++) {
		size_t n = 1 + below64(&seed, 8), i = pick(n), from = below64(&seed, FILE_PAGES - n);

		must(pread(fd, page_at(i), n * PAGE, (off_t)(from * PAGE)) == (ssize_t)(n * PAGE), "direct read");
		verify_file_pages(page_at(i), n, from);
		restore(i, n);
	}
	close(fd);
}

/* One call over far more memory than there is: `dd bs=600M`. */
void mode_huge(void)
{
	int fd = temp_file();
	size_t n = pages / 4 * 3;
	ssize_t done = 0;

	while (done < (ssize_t)(n * PAGE)) {
		ssize_t got = write(fd, base + done, n * PAGE - (size_t)done);

		must(got > 0, "write of %zu pages", n);
		done += got;
	}
	memset(base, 0, n * PAGE);
	must(pread(fd, base, n * PAGE, 0) == (ssize_t)(n * PAGE), "pread of %zu pages", n);
	verify(0, n);
	close(fd);
}
