/* Touches fresh memory for the first time, in a row and then one page in three, and ends at once. Prints where it is. */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#define PAGE 4096
#define IN_A_ROW 6000
#define APART 3000
#define STEP 3

int main(void)
{
	volatile char *base = mmap(NULL, (IN_A_ROW + APART * STEP) * PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return 1;
	printf("%lu %d %d %d\n", (unsigned long)((uintptr_t)base / PAGE), IN_A_ROW, APART, STEP);
	fflush(stdout);
	for (int i = 0; i < IN_A_ROW; i++)
		base[i * PAGE] = 1;
	for (int i = 1; i <= APART; i++)
		base[(IN_A_ROW + i * STEP - 1) * PAGE] = 1;
	return 7;
}
