/* A program without C++ opens a plugin with it, as python does. Argument: the plugin. Run with LD_PRELOAD. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	static const char *const functions[] = { "throwing", "throwing_aligned", "quiet", "quiet_aligned" };
	void *plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;

	printf("1..4\n");
	if (plugin == NULL) {
		printf("Bail out! %s\n", dlerror());
		return 1;
	}
	/* Its operators are found by nobody outside. */
	if (dlsym(RTLD_DEFAULT, "__cxa_throw") != NULL) {
		printf("Bail out! the program has a C++ library of its own\n");
		return 1;
	}
	for (int i = 0; i < 4; i++) {
		int (*run)(void) = (int (*)(void))dlsym(plugin, functions[i]);

		printf("%sok %d - without memory, %s\n", run != NULL && run() == 1 ? "" : "not ", i + 1, functions[i]);
	}
	return 0;
}
