#!/bin/sh
# Whether the worker of this container consumes: it touches the file every two seconds as long as it
# does. Starting Python for it, every few seconds in every container, would take half a core.
[ -n "$(find "${RAYON_BROKER_BEAT_FILE:?}" -newermt '15 seconds ago' 2>/dev/null)" ]
