#!/bin/sh
# How the allocator gets into programs: its symbols beside those of libc and libstdc++, -l, dlopen, a program without C++.
# Usage: link.sh LIBRARY INCLUDE_DIR SYMBOLS
library=$1
include=$2
symbols=$3
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset LD_PRELOAD
n=0

# result STATUS NAME
result() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

skip() {
	n=$((n + 1))
	echo "ok $n - $1 # SKIP no $2 here"
}

# defined OBJECT: names that an object exports
defined() { nm -D --defined-only "$1" | awk '{ sub("@.*", "", $3); print $3 }' | sort -u; }

path_of() { ldconfig -p | awk -v name="$1" '$1 == name && /x86-64/ { print $NF; exit }'; }

defined "$library" >"$dir/ours"

# Whatever libc has that allocates, frees or speaks of the heap. reallocarray calls realloc; the rest is of other heaps.
defined "$(path_of libc.so.6)" |
	grep -E '^(__libc_|__posix_)?(malloc|calloc|realloc|free|cfree|memalign|valloc|pvalloc|aligned_alloc)$|^posix_memalign$|^__posix_memalign$|^mall(info2?|opt|oc_.*)$|^free_(aligned_)?sized$' |
	grep -vE '^malloc_(get|set)_state$' >"$dir/libc"
[ "$(wc -l <"$dir/libc")" -ge 20 ] && comm -13 "$dir/ours" "$dir/libc" | sed 's/^/# libc has /' >"$dir/missing"
cat "$dir/missing"
[ ! -s "$dir/missing" ]
result $? "no name of libc's allocator is left to libc"

if [ -n "$(path_of libstdc++.so.6)" ]; then
	defined "$(path_of libstdc++.so.6)" | grep -E '^_Z(n[wa]|d[la])' >"$dir/operators"
	[ "$(wc -l <"$dir/operators")" -eq 20 ] && [ -z "$(comm -13 "$dir/ours" "$dir/operators")" ]
	result $? "the operators that libstdc++ has"
else
	skip "the operators that libstdc++ has" libstdc++
fi

grep -Eo 'stw_[a-z_0-9]+\(' "$include/steward/malloc.h" | tr -d '(' | sort -u >"$dir/header"
[ "$(wc -l <"$dir/header")" -ge 15 ] && [ -z "$(comm -13 "$dir/ours" "$dir/header")" ]
result $? "all that the header declares"

# A name that goes away breaks programs: then it is another soname. One that comes is entered with its version.
sed -n 's/^ \(.*\)@Base .*/\1/p' "$symbols" | sort -u >"$dir/promised"
comm -3 "$dir/ours" "$dir/promised" | sed 's/^\t/# missing: /; s/^[^#]/# not in the list: &/'
[ -z "$(comm -3 "$dir/ours" "$dir/promised")" ]
result $? "it exports what debian/libsteward-malloc0.symbols promises"

! nm -D --undefined-only "$library" | grep -E ' (malloc|calloc|realloc|free|posix_memalign|fopen|_Zn[wa].*|_Zd[la].*)(@|$)'
result $? "it calls no other allocator"

if command -v gcc >/dev/null; then
	name=$(basename "$library" .so)
	cp "$library" "$dir/"
	cat >"$dir/who.c" <<-'EOF'
		#include <dlfcn.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <string.h>
		int main(void)
		{
			void *sym = dlsym(RTLD_DEFAULT, "malloc");
			Dl_info info;
			char *mem = malloc(100);

			strcpy(mem, "x");
			free(mem);
			return dladdr(sym, &info) == 0 || strstr(info.dli_fname, "steward") == NULL;
		}
	EOF
	gcc -D_GNU_SOURCE -o "$dir/who" "$dir/who.c" -L"$dir" "-l${name#lib}" -Wl,-rpath,"$dir" && "$dir/who"
	result $? "a program that is linked with it uses it"

	cat >"$dir/plugin.c" <<-'EOF'
		#include <steward/malloc.h>
		int plugin(void);
		int plugin(void)
		{
			char *mem = stw_calloc(10, 100);
			int sum = mem[0] + mem[999];

			stw_free(mem);
			return sum + (stw_malloc_usable_size(NULL) != 0);
		}
	EOF
	cat >"$dir/host.c" <<-'EOF'
		#include <dlfcn.h>
		#include <pthread.h>
		#include <stdio.h>
		static void *call(void *fn) { return (void *)(long)((int (*)(void))fn)(); }
		int main(int argc, char **argv)
		{
			void *object = dlopen(argv[argc - 1], RTLD_NOW), *fn, *bad = (void *)1;
			pthread_t t;

			if (object == NULL || (fn = dlsym(object, "plugin")) == NULL) {
				puts(dlerror());
				return 1;
			}
			pthread_create(&t, NULL, call, fn);
			pthread_join(t, &bad);
			return call(fn) != NULL || bad != NULL;
		}
	EOF
	gcc -shared -fPIC -I"$include" -o "$dir/plugin.so" "$dir/plugin.c" -L"$dir" "-l${name#lib}" -Wl,-rpath,"$dir" &&
		gcc -o "$dir/host" "$dir/host.c" && "$dir/host" "$dir/plugin.so"
	result $? "a library that is linked with it can be opened later, in spite of its thread-local variables"

	# A block of the program's goes to a library that has been opened so, and back; and what the library opens by name is found beside it.
	mkdir "$dir/lib"
	cat >"$dir/module.c" <<-'EOF'
		#include <dlfcn.h>
		#include <stdlib.h>
		char *module(char *mem);
		char *module(char *mem)
		{
			free(mem);
			return dlopen("beside.so", RTLD_NOW) != NULL ? malloc(100) : NULL;
		}
	EOF
	cat >"$dir/deep.c" <<-'EOF'
		#include <dlfcn.h>
		#include <stdlib.h>
		int main(int argc, char **argv)
		{
			void *object = dlopen(argv[argc - 1], RTLD_NOW | RTLD_DEEPBIND);
			char *(*module)(char *) = object != NULL ? (char *(*)(char *))dlsym(object, "module") : NULL;
			char *mem = module != NULL ? module(malloc(100)) : NULL;

			free(mem);
			return mem == NULL;
		}
	EOF
	echo 'int beside;' >"$dir/beside.c"
	gcc -w -shared -fPIC -o "$dir/lib/beside.so" "$dir/beside.c" &&
		gcc -w -D_GNU_SOURCE -shared -fPIC -o "$dir/module.so" "$dir/module.c" -Wl,-rpath,"$dir/lib" &&
		gcc -w -D_GNU_SOURCE -o "$dir/deep" "$dir/deep.c" && "$dir/deep" "$dir/module.so" && LD_PRELOAD=$library "$dir/deep" "$dir/module.so"
	result $? "a library that is opened with RTLD_DEEPBIND has the same heap, and finds its own libraries"

	cat >"$dir/new.c" <<-'EOF'
		#include <stddef.h>
		void *new(size_t bytes) __asm__("_Znwm");
		void *nothrow(size_t bytes, const void *tag) __asm__("_ZnwmRKSt9nothrow_t");
		int main(int argc, char **argv)
		{
			(void)argv;
			if (new(10) == NULL || nothrow((size_t)-1 / 4 * argc, NULL) != NULL)
				return 1;
			return new((size_t)-1 / 4 * argc) != NULL;
		}
	EOF
	gcc -w -o "$dir/new" "$dir/new.c" -L"$dir" "-l${name#lib}" -Wl,-rpath,"$dir"
	(ulimit -c 0; exec "$dir/new") 2>"$dir/err"
	[ $? -eq 134 ] && [ "$(grep -v Aborted "$dir/err")" = "steward: operator new: no memory for 4611686018427387903 bytes, and no C++ library is there to throw std::bad_alloc; link with libstdc++" ]
	result $? "operator new without memory in a program without C++"
else
	for name in "linked with -l" "opened later" "opened with RTLD_DEEPBIND" "without C++"; do
		skip "$name" gcc
	done
fi
echo "1..$n"
