// The operators new and delete of C++: each of the 20, and what they do without memory. Run with LD_PRELOAD.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <new>

namespace {

int tests, failures;

void report(bool good, const char *what)
{
	std::printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failures += !good;
}

constexpr std::size_t sizes[] = { 0, 1, 24, 100, 4096, 9000, 300000 };
// More than there can ever be; the compiler must not know.
volatile std::size_t too_much = static_cast<std::size_t>(PTRDIFF_MAX) - 4096;
constexpr std::align_val_t align_of(unsigned log) { return std::align_val_t(std::size_t(1) << log); }

bool written(void *mem, std::size_t bytes)
{
	if (mem == nullptr)
		return false;
	std::memset(mem, 0x5a, bytes);
	return true;
}

template <class New, class Delete> bool pair(New create, Delete destroy)
{
	bool good = true;

	for (std::size_t bytes : sizes) {
		void *a = create(bytes), *b = create(bytes);

		good = written(a, bytes) && written(b, bytes) && a != b && good;
		destroy(a, bytes);
		destroy(b, bytes);
	}
	destroy(nullptr, 0);
	return good;
}

template <class New, class Delete> bool aligned_pair(New create, Delete destroy)
{
	bool good = true;

	for (unsigned log = 0; log <= 26; log++)
		good = pair([&](std::size_t n) {
			void *mem = create(n, align_of(log));
			return reinterpret_cast<std::uintptr_t>(mem) % (std::size_t(1) << log) == 0 ? mem : nullptr;
		}, [&](void *mem, std::size_t n) { destroy(mem, n, align_of(log)); }) && good;
	return good;
}

void all_are_ours()
{
	static const char *const names[] = {
		"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
		"_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t", "_ZdlPv", "_ZdaPv",
		"_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t", "_ZdlPvm", "_ZdaPvm", "_ZdlPvSt11align_val_t",
		"_ZdaPvSt11align_val_t", "_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t",
		"_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t",
	};
	unsigned ours = 0;

	for (const char *name : names) {
		Dl_info info;
		void *sym = dlsym(RTLD_DEFAULT, name);

		if (sym != nullptr && dladdr(sym, &info) != 0 && std::strstr(info.dli_fname, "steward") != nullptr)
			ours++;
		else
			std::printf("# %s\n", name);
	}
	report(ours == 20, "the 20 operators are ours");
}

void each_gives_and_takes_blocks()
{
	using size = std::size_t;
	using align = std::align_val_t;
	const std::nothrow_t &quiet = std::nothrow;

	report(pair([](size n) { return ::operator new(n); }, [](void *p, size) { ::operator delete(p); }), "new, delete");
	report(pair([](size n) { return ::operator new[](n); }, [](void *p, size) { ::operator delete[](p); }), "new[], delete[]");
	report(pair([](size n) { return ::operator new(n); }, [](void *p, size n) { ::operator delete(p, n); }), "sized delete");
	report(pair([](size n) { return ::operator new[](n); }, [](void *p, size n) { ::operator delete[](p, n); }), "sized delete[]");
	report(pair([&](size n) { return ::operator new(n, quiet); }, [&](void *p, size) { ::operator delete(p, quiet); }), "nothrow");
	report(pair([&](size n) { return ::operator new[](n, quiet); }, [&](void *p, size) { ::operator delete[](p, quiet); }),
	       "nothrow []");
	report(aligned_pair([](size n, align a) { return ::operator new(n, a); },
			    [](void *p, size, align a) { ::operator delete(p, a); }), "aligned");
	report(aligned_pair([](size n, align a) { return ::operator new[](n, a); },
			    [](void *p, size, align a) { ::operator delete[](p, a); }), "aligned []");
	report(aligned_pair([](size n, align a) { return ::operator new(n, a); },
			    [](void *p, size n, align a) { ::operator delete(p, n, a); }), "aligned, sized");
	report(aligned_pair([](size n, align a) { return ::operator new[](n, a); },
			    [](void *p, size n, align a) { ::operator delete[](p, n, a); }), "aligned, sized []");
	report(aligned_pair([&](size n, align a) { return ::operator new(n, a, quiet); },
			    [&](void *p, size, align a) { ::operator delete(p, a, quiet); }), "aligned, nothrow");
	report(aligned_pair([&](size n, align a) { return ::operator new[](n, a, quiet); },
			    [&](void *p, size, align a) { ::operator delete[](p, a, quiet); }), "aligned, nothrow []");
}

unsigned handled;

void handler()
{
	if (++handled == 3)
		std::set_new_handler(nullptr);
}

template <class New> bool throws(New create)
{
	handled = 0;
	std::set_new_handler(handler);
	try {
		create(too_much);
	} catch (const std::bad_alloc &) {
		return handled == 3;
	}
	return false;
}

template <class New> bool gives_null(New create)
{
	handled = 0;
	std::set_new_handler(handler);
	return create(too_much) == nullptr && handled == 3;
}

void without_memory()
{
	using size = std::size_t;
	constexpr std::align_val_t page = align_of(12);

	report(throws([](size n) { return ::operator new(n); }) && throws([](size n) { return ::operator new[](n); }) &&
	       throws([](size n) { return ::operator new(n, page); }) && throws([](size n) { return ::operator new[](n, page); }),
	       "without memory the handler is called, then bad_alloc thrown");
	report(gives_null([](size n) { return ::operator new(n, std::nothrow); }) &&
	       gives_null([](size n) { return ::operator new[](n, std::nothrow); }) &&
	       gives_null([](size n) { return ::operator new(n, page, std::nothrow); }) &&
	       gives_null([](size n) { return ::operator new[](n, page, std::nothrow); }),
	       "nothrow operators call the handler, then return null");
}

} // namespace

int main()
{
	all_are_ours();
	each_gives_and_takes_blocks();
	without_memory();
	std::printf("1..%d\n", tests);
	return failures != 0;
}
