/* The test module's extra exports: programs under test register the fork hooks themselves. */
#include "malloc/control.h"

#define EXPORT __attribute__((visibility("default")))

void malloc_test_fork_prepare(void);
void malloc_test_fork_parent(void);
void malloc_test_fork_child(void);

EXPORT void malloc_test_fork_prepare(void) { malloc_fork_prepare(); }
EXPORT void malloc_test_fork_parent(void) { malloc_fork_parent(); }
EXPORT void malloc_test_fork_child(void) { malloc_fork_child(); }
