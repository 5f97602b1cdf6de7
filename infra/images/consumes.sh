#!/bin/sh
# Health check of the process in this container: sh /consumes.sh [SECONDS]
#
# A worker touches the file every two seconds while it consumes; other processes touch it after each
# round. Starting Python every few seconds in every container would take half a core.
[ -n "$(find "${RAYON_BROKER_BEAT_FILE:?}" -newermt "${1:-15} seconds ago" 2>/dev/null)" ]
