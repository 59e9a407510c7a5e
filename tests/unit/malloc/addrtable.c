/* addrtable.h, against an array: random keys, more than the first tables hold, and two threads at it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/rand.h"
#include "malloc/addrtable.h"

#define KEYS 5000
#define WORDS 3

static struct addr_table table = { .words = WORDS };
static bool there[KEYS];
static unsigned seen[KEYS];

static uintptr_t key(size_t i)
{
	return 0x7f0000000010 + i * 16;
}

static void insert(size_t i)
{
	assert_true(addr_insert(&table, (uintptr_t[WORDS]){ key(i), i, i * i }));
}

static void take(void *ctx, const uintptr_t *entry)
{
	assert_ptr_equal(ctx, seen);
	assert_true(entry[1] < KEYS && entry[0] == key(entry[1]) && entry[2] == entry[1] * entry[1]);
	seen[entry[1]]++;
}

static void check_all(void)
{
	uintptr_t room[WORDS];

	for (size_t i = 0; i < KEYS; i++)
		seen[i] = 0;
	addr_each(&table, room, take, seen);
	for (size_t i = 0; i < KEYS; i++)
		assert_int_equal(seen[i], there[i]);
}

static void it_holds_what_was_put_in_and_not_taken_out(void **state)
{
	struct rand r;

	(void)state;
	rand_seed(&r, 7);
	for (unsigned step = 0; step < 100000; step++) {
		size_t i = rand_below(&r, KEYS);
		uintptr_t out[WORDS] = { 0 };

		if (!there[i]) {
			assert_false(addr_remove(&table, key(i), out));
			insert(i);
		} else {
			assert_true(addr_remove(&table, key(i), out));
			assert_true(out[0] == key(i) && out[1] == i && out[2] == i * i);
		}
		there[i] = !there[i];
		if (step % 10000 == 0)
			check_all();
	}
	check_all();
}

static void *half(void *arg)
{
	size_t parity = (uintptr_t)arg;

	for (unsigned round = 0; round < 20; round++) {
		for (size_t i = parity; i < KEYS; i += 2)
			insert(i);
		for (size_t i = parity; i < KEYS; i += 2)
			assert_true(addr_remove(&table, key(i), NULL));
	}
	for (size_t i = parity; i < KEYS; i += 2)
		insert(i);
	return NULL;
}

static void two_threads_do_not_lose_each_others(void **state)
{
	pthread_t t;

	(void)state;
	for (size_t i = 0; i < KEYS; i++)
		if (there[i])
			assert_true(addr_remove(&table, key(i), NULL));
	pthread_create(&t, NULL, half, (void *)1);
	half(NULL);
	pthread_join(t, NULL);
	for (size_t i = 0; i < KEYS; i++)
		there[i] = true;
	check_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_holds_what_was_put_in_and_not_taken_out),
		cmocka_unit_test(two_threads_do_not_lose_each_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
