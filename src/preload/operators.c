/*
 * The C++ operators new and delete, by their mangled names: without them each
 * goes through libstdc++'s, which call malloc and free.
 *
 * A program may replace some of them and leave the others, which must then call
 * its own ([new.delete]): an operator whose default is defined by another one
 * calls that through the dynamic linker, where a program's own comes first.
 *
 * What to do without memory (new_handler, std::bad_alloc) only the C++ library
 * knows: the same operator of the next object tries again, calls the handler
 * and throws. It is no dependency: a program without C++ never comes here. Where
 * it came with a plugin (of python, say) it is in nobody's search order but the
 * plugin's, and is found by its name.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fmt.h"
#include "malloc/short.h"

#define OPERATOR(type, name, mangled, ...) \
	__attribute__((visibility("default"))) type name(__VA_ARGS__) __asm__(mangled)

/* const struct nothrow * stands for std::nothrow_t const &, size_t align for std::align_val_t. */
struct nothrow;

OPERATOR(void *, new, "_Znwm", size_t bytes);
OPERATOR(void *, new_array, "_Znam", size_t bytes);
OPERATOR(void *, new_nothrow, "_ZnwmRKSt9nothrow_t", size_t bytes, const struct nothrow *tag);
OPERATOR(void *, new_array_nothrow, "_ZnamRKSt9nothrow_t", size_t bytes, const struct nothrow *tag);
OPERATOR(void *, new_aligned, "_ZnwmSt11align_val_t", size_t bytes, size_t align);
OPERATOR(void *, new_array_aligned, "_ZnamSt11align_val_t", size_t bytes, size_t align);
OPERATOR(void *, new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t", size_t bytes, size_t align,
	 const struct nothrow *tag);
OPERATOR(void *, new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", size_t bytes, size_t align,
	 const struct nothrow *tag);

OPERATOR(void, delete, "_ZdlPv", void *mem);
OPERATOR(void, delete_array, "_ZdaPv", void *mem);
OPERATOR(void, delete_nothrow, "_ZdlPvRKSt9nothrow_t", void *mem, const struct nothrow *tag);
OPERATOR(void, delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", void *mem, const struct nothrow *tag);
OPERATOR(void, delete_sized, "_ZdlPvm", void *mem, size_t bytes);
OPERATOR(void, delete_array_sized, "_ZdaPvm", void *mem, size_t bytes);
OPERATOR(void, delete_aligned, "_ZdlPvSt11align_val_t", void *mem, size_t align);
OPERATOR(void, delete_array_aligned, "_ZdaPvSt11align_val_t", void *mem, size_t align);
OPERATOR(void, delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", void *mem, size_t align,
	 const struct nothrow *tag);
OPERATOR(void, delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t", void *mem, size_t align,
	 const struct nothrow *tag);
OPERATOR(void, delete_sized_aligned, "_ZdlPvmSt11align_val_t", void *mem, size_t bytes, size_t align);
OPERATOR(void, delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", void *mem, size_t bytes, size_t align);

/* Our own, whatever the names above have become in this program. */
#define OURS(type, name, mangled, ...) \
	extern type name(__VA_ARGS__) __attribute__((alias(mangled), visibility("hidden")))

OURS(void *, our_new, "_Znwm", size_t bytes);
OURS(void *, our_new_array, "_Znam", size_t bytes);
OURS(void *, our_new_aligned, "_ZnwmSt11align_val_t", size_t bytes, size_t align);
OURS(void *, our_new_array_aligned, "_ZnamSt11align_val_t", size_t bytes, size_t align);
OURS(void, our_delete, "_ZdlPv", void *mem);
OURS(void, our_delete_array, "_ZdaPv", void *mem);
OURS(void, our_delete_aligned, "_ZdlPvSt11align_val_t", void *mem, size_t align);
OURS(void, our_delete_array_aligned, "_ZdaPvSt11align_val_t", void *mem, size_t align);

static __attribute__((noreturn)) void nobody_throws(size_t bytes)
{
	char line[160];
	struct fmt f;

	fmt_init(&f, line, sizeof(line));
	fmt_str(&f, "steward: operator new: no memory for ");
	fmt_u64(&f, bytes);
	fmt_str(&f, " bytes, and no C++ library is there to throw std::bad_alloc; link with libstdc++\n");
	syscall(SYS_write, STDERR_FILENO, line, f.len);
	abort();
}

/* The operator of the C++ library; NULL: none is loaded. */
static void *next_of(const char *mangled)
{
	static const char *const libraries[] = { "libstdc++.so.6", "libc++.so.1" };
	void *next = dlsym(RTLD_NEXT, mangled);

	for (size_t i = 0; i < ARRAY_SIZE(libraries) && next == NULL; i++) {
		void *library = dlopen(libraries[i], RTLD_NOLOAD | RTLD_LAZY);

		if (library == NULL)
			continue;
		next = dlsym(library, mangled);
		dlclose(library);
	}
	return next;
}

static void *new_failed(size_t bytes)
{
	void *(*next)(size_t) = next_of("_Znwm");

	if (next == NULL)
		nobody_throws(bytes);
	return next(bytes);
}

static void *new_aligned_failed(size_t bytes, size_t align)
{
	void *(*next)(size_t, size_t) = next_of("_ZnwmSt11align_val_t");

	if (next == NULL)
		nobody_throws(bytes);
	return next(bytes, align);
}

/* A nothrow operator calls the throwing one and catches: that takes C++, unless it is ours and has a block. */
static void *nothrow_failed(const char *mangled, size_t bytes, const struct nothrow *tag)
{
	void *(*next)(size_t, const struct nothrow *) = next_of(mangled);

	return next != NULL ? next(bytes, tag) : NULL;
}

static void *nothrow_aligned_failed(const char *mangled, size_t bytes, size_t align, const struct nothrow *tag)
{
	void *(*next)(size_t, size_t, const struct nothrow *) = next_of(mangled);

	return next != NULL ? next(bytes, align, tag) : NULL;
}

void *new(size_t bytes)
{
	void *mem = malloc_short(bytes);

	return likely(mem != NULL) ? mem : new_failed(bytes);
}

void *new_array(size_t bytes) { return new(bytes); }

void *new_nothrow(size_t bytes, const struct nothrow *tag)
{
	void *mem = new == our_new ? malloc_short(bytes) : NULL;

	return likely(mem != NULL) ? mem : nothrow_failed("_ZnwmRKSt9nothrow_t", bytes, tag);
}

void *new_array_nothrow(size_t bytes, const struct nothrow *tag)
{
	void *mem = new == our_new && new_array == our_new_array ? malloc_short(bytes) : NULL;

	return likely(mem != NULL) ? mem : nothrow_failed("_ZnamRKSt9nothrow_t", bytes, tag);
}

void *new_aligned(size_t bytes, size_t align)
{
	void *mem = stw_aligned_alloc(align, bytes);

	return likely(mem != NULL) ? mem : new_aligned_failed(bytes, align);
}

void *new_array_aligned(size_t bytes, size_t align) { return new_aligned(bytes, align); }

void *new_aligned_nothrow(size_t bytes, size_t align, const struct nothrow *tag)
{
	void *mem = new_aligned == our_new_aligned ? stw_aligned_alloc(align, bytes) : NULL;

	return likely(mem != NULL) ? mem :
				     nothrow_aligned_failed("_ZnwmSt11align_val_tRKSt9nothrow_t", bytes, align, tag);
}

void *new_array_aligned_nothrow(size_t bytes, size_t align, const struct nothrow *tag)
{
	bool ours = new_aligned == our_new_aligned && new_array_aligned == our_new_array_aligned;
	void *mem = ours ? stw_aligned_alloc(align, bytes) : NULL;

	return likely(mem != NULL) ? mem :
				     nothrow_aligned_failed("_ZnamSt11align_val_tRKSt9nothrow_t", bytes, align, tag);
}

/*
 * A size is compared with the block, if nobody but us made and frees such blocks.
 */

static bool whole_blocks(void)
{
	return new == our_new && delete == our_delete;
}

static bool whole_blocks_aligned(void)
{
	return new_aligned == our_new_aligned && delete_aligned == our_delete_aligned;
}

void delete_sized(void *mem, size_t bytes)
{
	if (whole_blocks())
		free_sized_short(mem, bytes);
	else
		delete(mem);
}

void delete_array_sized(void *mem, size_t bytes)
{
	if (whole_blocks() && new_array == our_new_array && delete_array == our_delete_array)
		free_sized_short(mem, bytes);
	else
		delete_array(mem);
}

void delete_sized_aligned(void *mem, size_t bytes, size_t align)
{
	if (whole_blocks_aligned())
		stw_free_aligned_sized(mem, align, bytes);
	else
		delete_aligned(mem, align);
}

void delete_array_sized_aligned(void *mem, size_t bytes, size_t align)
{
	if (whole_blocks_aligned() && new_array_aligned == our_new_array_aligned &&
	    delete_array_aligned == our_delete_array_aligned)
		stw_free_aligned_sized(mem, align, bytes);
	else
		delete_array_aligned(mem, align);
}

/* The other forms need nothing of what they are told. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

void delete(void *mem) { free_short(mem); }
void delete_array(void *mem) { delete(mem); }
void delete_nothrow(void *mem, const struct nothrow *tag) { delete(mem); }
void delete_array_nothrow(void *mem, const struct nothrow *tag) { delete_array(mem); }

void delete_aligned(void *mem, size_t align) { stw_free(mem); }
void delete_array_aligned(void *mem, size_t align) { delete_aligned(mem, align); }
void delete_aligned_nothrow(void *mem, size_t align, const struct nothrow *tag) { delete_aligned(mem, align); }
void delete_array_aligned_nothrow(void *mem, size_t align, const struct nothrow *tag) { delete_array_aligned(mem, align); }
