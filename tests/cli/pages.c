/* Does what is said on standard output to its memory, for tests that look for it in a trace. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 100

static volatile char *base;

static void *write_page_7(void *arg)
{
	base[7 * PAGE] = 1;
	return arg;
}

static void walk(void)
{
	for (int i = 0; i < PAGES; i++)
		(void)base[i * PAGE];
	for (int i = PAGES; i > 0; i--)
		base[(i - 1) * PAGE + 5] = 1;
	*(volatile uint64_t *)(uintptr_t)(base + 11 * PAGE - 4) = 1;
	base[20 * PAGE]++;
}

static void change(void)
{
	char *moved;

	munmap((char *)base + 50 * PAGE, 10 * PAGE);
	mprotect((char *)base + 60 * PAGE, 2 * PAGE, PROT_READ);
	madvise((char *)base, 3 * PAGE, MADV_DONTNEED);
	moved = mremap((char *)base + 90 * PAGE, 10 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		       (char *)base + 200 * PAGE);
	if (moved == MAP_FAILED)
		exit(9);
	moved[11 * PAGE] = 1;
}

static void use_files(const char *name)
{
	char buf[3 * PAGE] = { 0 };
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), other;
	volatile char *p;

	if (write(fd, buf, sizeof(buf)) != sizeof(buf) || fsync(fd) != 0 || lseek(fd, PAGE, SEEK_SET) != PAGE)
		exit(9);
	other = dup(fd);
	if (read(other, buf, 10) != 10 || pread(fd, buf, 10, 2 * PAGE) != 10)
		exit(9);
	p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	(void)p[PAGE];
	close(fd);
	close(other);
}

static void use_shm(void)
{
	int id = shmget(IPC_PRIVATE, 2 * PAGE, 0600 | IPC_CREAT);
	volatile char *p = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	p[PAGE] = 1;
	shmdt((char *)p);
}

static int deep(int n)
{
	volatile char frame[2 * PAGE];

	frame[0] = (char)n;
	return n == 0 ? frame[0] : deep(n - 1) + frame[0];
}

static void use_processes(const char *self)
{
	pthread_t thread;
	pid_t child = fork();

	if (child == 0) {
		for (int i = 30; i < 35; i++)
			base[i * PAGE] = 1;
		for (int fd = 3; fd < 1000; fd++)
			close(fd);
		close_range(3, ~0u, 0);
		execl(self, self, "again", (char *)NULL);
		_exit(9);
	}
	waitpid(child, NULL, 0);
	base[40 * PAGE] = 1;
	pthread_create(&thread, NULL, write_page_7, NULL);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	char *brk;

	if (argc > 1 && strcmp(argv[1], "again") == 0)
		return 0;
	/* What is moved later has its place here. */
	base = mmap(NULL, 300 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	base = mmap((char *)base, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	walk();
	change();
	use_processes(argv[0]);
	brk = sbrk(5 * PAGE);
	brk[4 * PAGE] = 1;
	use_files(argv[1]);
	use_shm();
	deep(20);
	printf("%lu %lu\n", (unsigned long)(uintptr_t)base / PAGE, ((unsigned long)(uintptr_t)brk + 4 * PAGE) / PAGE);
	fflush(stdout);
	fprintf(stderr, "words of its own\n");
	if (argc > 2)
		raise(atoi(argv[2]));
	return 5;
}
