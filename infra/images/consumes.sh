#!/bin/sh
# Whether what runs in this container goes on: sh /consumes.sh [SECONDS]
#
# A worker touches the file every two seconds as long as it consumes; others after each round, which
# may take longer. Starting Python for it, every few seconds in every container, would take half a core.
[ -n "$(find "${RAYON_BROKER_BEAT_FILE:?}" -newermt "${1:-15} seconds ago" 2>/dev/null)" ]
