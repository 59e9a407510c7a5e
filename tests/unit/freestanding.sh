#!/bin/sh
# The rules of the rooms (docs/ARCHITECTURE.md), held by compiling and by reading #include lines:
# mm/ and base/ need nothing of a libc but four mem* functions (and the compiler's own 128-bit division), and every room includes only what its arrow allows.
# Usage: freestanding.sh SOURCE_ROOT CC...
set -u
root=$1
shift
out=$(mktemp -d) || exit 99
trap 'rm -rf "$out"' EXIT
n=0

report() { # name, text of what is wrong (empty: ok)
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		echo "$2" | head -20 | sed 's/^/# /'
	fi
}

# Prints the symbols that the rooms named need from elsewhere, less those that any C compiler may call.
foreign_symbols() { # compiler...; reads sources from stdin
	objects=
	while read -r source; do
		object=$out/$(echo "${source#"$root"/}" | tr / _).o
		"$@" -std=gnu11 -D_GNU_SOURCE -O1 -w -ffreestanding -nostdlib -fno-stack-protector -fno-pic -I"$root/src" \
			-c "$source" -o "$object" 2>"$out/log" || { echo "does not compile: $source"; head -5 "$out/log"; }
		objects="$objects $object"
	done
	# shellcheck disable=SC2086
	"$@" -nostdlib -no-pie -r $objects -o "$out/all.o" 2>&1 || echo "does not link"
	nm -u "$out/all.o" | awk '{ print $NF }' | grep -vxE 'memcpy|memset|memcmp|memmove|__udivti3'
}

# Prints the include lines of a room that its arrow forbids.
foreign_includes() { # room, extended regex of what it may include with quotes
	grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$root/src/$1" | sed "s,^$root/,," |
		grep -vE "include[[:space:]]*\"($2)"
}

# The same for <system headers>.
foreign_headers() { # room, extended regex
	grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<' "$root/src/$1" | sed "s,^$root/,," |
		grep -vE "include[[:space:]]*<($2)>"
}

echo "1..14"
report "base and mm need nothing but mem* from outside" \
	"$(find "$root/src/base" "$root/src/mm" -name '*.c' | sort | foreign_symbols "$@")"
report "base includes only base" "$(foreign_includes base 'base/')"
report "mm includes only mm and base" "$(foreign_includes mm 'mm/|base/')"
report "store includes only the contract, frames and base" \
	"$(foreign_includes store 'store/|mm/backing/store\.h|mm/phys/|base/')"
report "sim includes only sim, mm, store and base" "$(foreign_includes sim 'sim/|mm/|store/|base/')"
report "live includes only live, mm, store and base" "$(foreign_includes live 'live/|mm/|store/|base/')"
report "malloc includes only malloc, its public header and base" \
	"$(foreign_includes malloc 'malloc/|steward/malloc\.h|base/')"
report "preload includes only preload, live, malloc, public headers and base" \
	"$(foreign_includes preload 'preload/|live/|malloc/|steward/|base/')"
report "embed includes only embed, its public header, what of live is about no engine, store, mm and base" \
	"$(foreign_includes embed 'embed/|steward/steward\.h|live/(clock|homes|host|lock|proc|urgent)\.h|store/|mm/|base/')"
report "cli includes only cli, live, sim, store, mm, malloc, its public header and base" \
	"$(foreign_includes cli 'cli/|live/|sim/|store/|mm/|malloc/|steward/malloc\.h|base/')"
report "mm knows no system call" "$(grep -rnE 'base/(sys|uffd)\.h|syscall' "$root/src/mm" | sed "s,^$root/,,")"
report "mm includes only headers that a freestanding compiler has, and list macros" \
	"$(foreign_headers mm 'errno\.h|string\.h|std(bool|def|int)\.h|bsd/sys/(queue|tree)\.h')"

# The floors of mm/: a room knows those below it.
floors() {
	foreign_includes mm/phys 'mm/types\.h|mm/phys/|base/'
	foreign_includes mm/space 'mm/types\.h|mm/(phys|space)/|base/'
	foreign_includes mm/backing 'mm/types\.h|mm/(phys|space|backing)/|base/'
}
report "in mm, phys, space and backing know only the floors below" "$(floors)"

# A header that includes itself by way of others would make the order of reading matter.
cycles() {
	grep -rnoE '^#include "[a-z_/]+\.h"' "$root/src" --include='*.h' | sed "s,^$root/src/,," |
		sed 's/:[0-9]*:#include "/ /; s/"$//' >"$out/edges"
	{ tsort "$out/edges" >/dev/null; } 2>&1
}
report "no header includes itself by way of others" "$(cycles)"
exit 0
