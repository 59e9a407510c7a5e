// A program that replaces the four basic operators of C++ only: all others must come to these. Run with LD_PRELOAD.
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

constexpr std::size_t header = 64;
int made, gone, tests, failures;
bool full;

// Blocks that nobody else could free: they do not begin where malloc's do.
void *make(std::size_t bytes, std::size_t align)
{
	if (full)
		throw std::bad_alloc();
	made++;
	return static_cast<char *>(std::aligned_alloc(align, (bytes + header + align - 1) / align * align)) + header;
}

void drop(void *mem)
{
	if (mem == nullptr)
		return;
	gone++;
	std::free(static_cast<char *>(mem) - header);
}

void report(bool good, const char *what)
{
	std::printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failures += !good;
}

} // namespace

void *operator new(std::size_t bytes) { return make(bytes, 16); }
void *operator new(std::size_t bytes, std::align_val_t) { return make(bytes, header); }
void operator delete(void *mem) noexcept { drop(mem); }
void operator delete(void *mem, std::align_val_t) noexcept { drop(mem); }

int main()
{
	constexpr auto align = std::align_val_t(header);
	const std::nothrow_t &quiet = std::nothrow;

	::operator delete[](::operator new[](10));
	::operator delete(::operator new(10, quiet), quiet);
	::operator delete[](::operator new[](10, quiet), quiet);
	::operator delete(::operator new(10), 10);
	::operator delete[](::operator new[](10), 10);
	report(made == 5 && gone == 5, "plain operators use the program's");
	::operator delete[](::operator new[](10, align), align);
	::operator delete(::operator new(10, align, quiet), align, quiet);
	::operator delete[](::operator new[](10, align, quiet), align, quiet);
	::operator delete(::operator new(10, align), 10, align);
	::operator delete[](::operator new[](10, align), 10, align);
	report(made == 10 && gone == 10, "aligned operators use the program's");
	full = true;
	report(::operator new(10, quiet) == nullptr && ::operator new[](10, quiet) == nullptr &&
	       ::operator new(10, align, quiet) == nullptr && ::operator new[](10, align, quiet) == nullptr,
	       "what the program's operators throw becomes null in the nothrow ones");
	std::printf("1..%d\n", tests);
	return failures != 0;
}
