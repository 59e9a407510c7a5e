/*
 * Assertions at three prices.
 *
 *   ASSERT(x)        always compiled in: a violated law must stop the program
 *                    before it can return wrong data.
 *   DEBUG_ASSERT(x)  in debug builds (-Ddebug-checks=true, the test build).
 *   x_check()        whole-structure checks; tests call them after each step.
 *
 * An assertion states an invariant of our own code. It never stands in for
 * the handling of an error that input, memory or a system call can cause.
 */
#ifndef STW_BASE_ASSERT_H
#define STW_BASE_ASSERT_H

/*
 * Called with the text of a failed assertion; must not return. The default
 * executes a trap instruction. Must not allocate, lock or touch managed memory.
 */
extern void (*assert_fail_hook)(const char *file, int line, const char *what);

/* Reports through assert_fail_hook; never returns, whatever the hook does. */
void assert_fail(const char *file, int line, const char *what) __attribute__((noreturn, cold));

#define ASSERT(x) ((x) ? (void)0 : assert_fail(__FILE__, __LINE__, #x))

#ifdef STW_DEBUG
#define DEBUG_ASSERT(x) ASSERT(x)
#else
#define DEBUG_ASSERT(x) ((void)sizeof(x))
#endif

#endif
