#!/bin/sh
# redis.sh [KEYS]: a redis-server, and a client that fills it with KEYS (20000) of 100 bytes and then makes every third one longer, in another
# order. The same work each time, and over in a moment, so that it can be recorded: docs/validation.md.
set -eu
keys=${1:-20000}
socket=${TMPDIR:-/tmp}/steward-redis.$$
redis-server --port 0 --unixsocket "$socket" --save '' --enable-debug-command yes | while read -r line; do
	case $line in
	*'ready to accept connections'*)
		redis-cli -s "$socket" debug populate "$keys" key 100
		redis-cli -s "$socket" eval "for i = 0, $keys - 1, 3 do
			redis.call('append', 'key:' .. i * 7919 % $keys, string.rep('x', 50))
		end" 0
		redis-cli -s "$socket" shutdown nosave
		;;
	esac
done
