// Requests that cannot be served, in a plugin. Each: whether it ended as C++ has it, with the handler called once.
#include <cstddef>
#include <cstdint>
#include <new>

namespace {

// More than there can ever be; the compiler must not know.
volatile std::size_t too_much = static_cast<std::size_t>(PTRDIFF_MAX) - 4096;
int handled;

void handler()
{
	handled++;
	std::set_new_handler(nullptr);
}

template <class New> int throws(New create)
{
	handled = 0;
	std::set_new_handler(handler);
	try {
		create();
	} catch (const std::bad_alloc &) {
		return handled;
	}
	return 0;
}

template <class New> int returns_null(New create)
{
	handled = 0;
	std::set_new_handler(handler);
	return create() == nullptr ? handled : 0;
}

} // namespace

extern "C" int throwing() { return throws([] { return operator new(too_much); }); }
extern "C" int throwing_aligned() { return throws([] { return operator new(too_much, std::align_val_t(512)); }); }
extern "C" int quiet() { return returns_null([] { return operator new(too_much, std::nothrow); }); }
extern "C" int quiet_aligned() { return returns_null([] { return operator new(too_much, std::align_val_t(512), std::nothrow); }); }
