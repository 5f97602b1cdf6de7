#!/bin/sh
# Run Redis, and set its append-only file aside if it ends with an error:
#
#     redis.sh FOLDER redis-server OPTION…
#
# A Redis that cannot read the file ends at once, or crashes while it reads, at every start. The file
# is no loss: all jobs are in the database, and the scheduler sends unfinished ones again. The
# container then restarts with an empty Redis.
set -eu

folder=$1
shift
aside=$folder/set-aside
kept=3

"$@" &
server=$!
trap 'kill -TERM "$server"' TERM INT
status=0
wait "$server" || status=$?
# A stop signal ends the wait before Redis has ended.
while kill -0 "$server" 2>/dev/null; do
    status=0
    wait "$server" || status=$?
done

# Stopped, or killed for its memory.
case $status in 0 | 130 | 137 | 143) exit "$status" ;; esac

for name in appendonly.aof appendonlydir; do
    [ -e "$folder/$name" ] || continue
    to=$aside/$(date -u +%Y%m%dT%H%M%SZ)
    mkdir -p "$to"
    mv "$folder/$name" "$to/"
    echo "WARNING Redis ended with $status. Its append-only file was moved to $to, and Redis starts" \
        "empty. Unfinished jobs are sent again, the first within a minute."
done
if [ -d "$aside" ]; then
    ls "$aside" | sort | head -n "-$kept" | while read -r old; do rm -rf "${aside:?}/$old"; done
fi
exit "$status"
