#!/bin/sh
# How libsteward gets into programs: what it exports beside its header and its lists, and that the header stands alone.
# Usage: link.sh LIBRARY INCLUDE_DIR SYMBOLS
library=$1
header=$2/steward/steward.h
symbols=$3
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0

result() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

nm -D --defined-only "$library" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort -u >"$dir/ours"
sed -n '/^[a-z].*stw_[a-z_]*(/p' "$header" | grep -Eo 'stw_[a-z_]+\(' | tr -d '(' | sort -u >"$dir/header"
comm -3 "$dir/ours" "$dir/header" | sed 's/^\t/# not exported: /; s/^[^#]/# not in the header: &/'
[ "$(wc -l <"$dir/header")" -ge 10 ] && [ -z "$(comm -3 "$dir/ours" "$dir/header")" ]
result $? "it exports what the header declares, and nothing else"

# A name that goes away breaks programs: then it is another soname. One that comes is entered with its version.
sed -n 's/^ \(stw_.*\)@STEWARD.* .*/\1/p' "$symbols" | sort -u >"$dir/promised"
comm -3 "$dir/ours" "$dir/promised" | sed 's/^\t/# missing: /; s/^[^#]/# not in the list: &/'
[ -z "$(comm -3 "$dir/ours" "$dir/promised")" ]
result $? "and what debian/libsteward0.symbols promises"

for compiler in "gcc -std=c99 -pedantic -x c" "g++ -std=c++11 -x c++"; do
	command -v "${compiler%% *}" >/dev/null || continue
	# shellcheck disable=SC2086
	echo '#include <steward/steward.h>' | $compiler -Wall -Wextra -Werror -I"$2" -c -o "$dir/o" -
	result $? "the header alone: ${compiler%% *}"
done
echo "1..$n"
