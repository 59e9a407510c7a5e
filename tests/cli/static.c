/* A program without a dynamic loader; sleeps as many tenths of a second as it has arguments. */
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argv;
	usleep((useconds_t)(argc - 1) * 100000);
	return 0;
}
