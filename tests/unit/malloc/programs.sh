#!/bin/sh
# Real programs with the allocator preloaded print what they print without it. Usage: programs.sh MODULE
module=$1
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
seq 1 20000 | awk '{ print ($1 * 7919) % 20011, "line", $1 }' >"$dir/lines"
cat >"$dir/small.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct node { struct node *next; int key; };
static struct node *push(struct node *n, int key) { struct node *m = malloc(sizeof *m); m->next = n; m->key = key; return m; }
int main(void) { struct node *n = NULL; for (int i = 0; i < 10; i++) n = push(n, i * i); for (; n; n = n->next) printf("%d\n", n->key); return 0; }
END
n=0

# check NAME PROGRAM ARG…: runs it twice in $dir and compares status and output
check() {
	name=$1
	shift
	n=$((n + 1))
	if ! command -v "$1" >/dev/null; then
		echo "ok $n - $name # SKIP no $1 here"
		return
	fi
	(cd "$dir" && "$@" </dev/null >want 2>&1; echo "status $?" >>want)
	(cd "$dir" && LD_PRELOAD=$module "$@" </dev/null >got 2>&1; echo "status $?" >>got)
	if cmp -s "$dir/want" "$dir/got" && grep -q 'status 0' "$dir/got"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		diff "$dir/want" "$dir/got" | head -5 | sed 's/^/# /'
	fi
}

check "sort of 20000 lines" sort -n lines
check "sort with threads and little memory" sort --parallel=4 -S 1M lines
check "python3 objects" env PYTHONMALLOC=malloc python3 -c '
d = {str(i): [i] * (i % 50) for i in range(20000)}
for i in range(0, 20000, 3): del d[str(i)]
b = bytearray()
for i in range(3000): b += bytes([i % 251]) * (i % 97)
print(len(d), sum(map(len, d.values())), len(b), sum(b), sorted(d)[:5])'
check "python3 threads" python3 -c '
import threading, json
out = [None] * 4
def job(k): out[k] = json.loads(json.dumps([{"k": k, "v": list(range(50))} for _ in range(200)]))
ts = [threading.Thread(target=job, args=(k,)) for k in range(4)]
[t.start() for t in ts]; [t.join() for t in ts]
print([len(str(o)) for o in out])'
check "gcc compiles a small file" sh -c 'gcc -O2 -g0 -S -o - small.c'
check "perl hashes" perl -e '
my %h; $h{$_ % 5000} .= "x" x ($_ % 100) for 1..50000;
my $n = 0; $n += length $h{$_} for sort keys %h; print "$n\n";'
check "a pipeline with forks" sh -c 'for i in 1 2 3; do sort lines | awk "{ s += \$1 } END { print s }"; done'
echo "1..$n"
