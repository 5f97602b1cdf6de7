"""Celery's Redis transport with an atomic receive, so that no message is ever outside Redis.

The original transport pops a message and records it as unacknowledged afterwards. In between the
message is nowhere: queue depths miss it, and a worker that dies loses it (celery#7950). Here one
script does both, so a message is always either in its queue or in `unacked`.

A script cannot block, so a worker with empty queues blocks on their `wake` streams, to which every
publisher appends. Messages of publishers that do not, such as an older version, are found when the
block times out after a second.
"""

from collections.abc import Callable, Sequence
from queue import Empty
from time import monotonic, time
from typing import Any

from kombu.transport import redis
from kombu.transport.virtual import QoS as InMemoryQoS
from kombu.utils.json import dumps, loads

#: Redis hashes that count handled messages by queue, one hash for each interval of this length.
HANDLED_PREFIX = "rayon:handled:"
HANDLED_SECONDS = 5
#: Lifetime of these hashes, longer than the window of any rate.
HANDLED_EXPIRY_SECONDS = 180
_WAKE_PREFIX = "rayon:wake:"

#: Moves the oldest message of the first non-empty queue to `unacked`, in the format of the original
#: transport. If all queues are empty, the script returns the last ids of the wake streams. It is
#: atomic, so every later message has a higher id and no wake is missed.
_TAKE = """
local count = (#KEYS - 2) / 2
for number = 1, count do
  local queue = KEYS[2 + number]
  local message = redis.call('RPOP', queue)
  if message then
    local tag = cjson.decode(message).properties.delivery_tag
    redis.call('ZADD', KEYS[2], ARGV[1], tag)
    redis.call('HSET', KEYS[1], tag, '[' .. message .. ', "", "' .. queue .. '"]')
    return {queue, message}
  end
end
local ends = {false}
for number = 1, count do
  local last = redis.call('XREVRANGE', KEYS[2 + count + number], '+', '-', 'COUNT', 1)
  ends[1 + number] = last[1] and last[1][1] or '0-0'
end
return ends
"""


def wake_key(queue: str) -> str:
    """Return the key of the stream that announces new messages in a queue."""
    return f"{_WAKE_PREFIX}{queue}"


def handled_key(moment: float) -> str:
    """Return the key of the hash that counts messages handled at a Unix time."""
    return f"{HANDLED_PREFIX}{int(moment // HANDLED_SECONDS)}"


class QoS(redis.QoS):
    """Messages that were delivered and not yet acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a received message in memory only; the script has written it to `unacked`."""
        InMemoryQoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a handled message and count it."""
        # After a broken connection the message was already restored to its queue, so it is not in
        # `_delivered`, but Celery acknowledges it all the same.
        message = self._delivered.get(delivery_tag)
        counted = handled_key(time())
        with self.pipe_or_acquire() as pipe:
            self._remove_from_indices(delivery_tag, pipe)
            if message is not None:
                pipe.hincrby(counted, message.delivery_info["routing_key"], 1)
                pipe.expire(counted, HANDLED_EXPIRY_SECONDS)
            pipe.execute()
        InMemoryQoS.ack(self, delivery_tag)


class Channel(redis.Channel):
    """Channel that receives each message by one atomic script, and blocks on wake streams."""

    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "on_asked")

    #: Called after every answer to a poll, as proof that this worker consumes.
    on_asked: Callable[[], None] = staticmethod(lambda: None)

    #: Last ids of the wake streams while the queues are empty; `None` if the next poll receives.
    _ends: Sequence[bytes] | None = None

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        wakes = [wake_key(queue) for queue in queues]
        if self._ends is None or len(self._ends) != len(wakes):
            self._ends = None
            keys = [self.unacked_key, self.unacked_index_key, *queues, *wakes]
            connection.send_command("EVAL", _TAKE, len(keys), *keys, time())
        else:
            wait_ms = int((timeout or self.brpop_timeout) * 1000)
            connection.send_command("XREAD", "BLOCK", wait_ms, "STREAMS", *wakes, *self._ends)

    def _brpop_read(self, **_options: Any) -> bool:
        was_waiting, self._ends = self._ends is not None, None
        try:
            answer = self.client.parse_response(self.client.connection, "")
        except self.connection_errors:
            # The next poll reconnects.
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self.on_asked()
        if was_waiting:
            raise Empty
        if answer[0] is None:
            self._ends = answer[1:]
            raise Empty
        queue, message = answer[0].decode(), answer[1]
        self._queue_cycle.rotate(queue)
        self.connection._deliver(loads(message.decode()), queue)
        return True

    def _put(self, queue: str, message: Any, **_options: Any) -> None:
        with self.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.lpush(queue, dumps(message))
            _wake(pipe, queue)
            pipe.execute()

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)
        _wake(pipe, routing_key)


class Transport(redis.Transport):
    """Redis transport that uses the atomic channel."""

    Channel = Channel


def _wake(pipe: Any, queue: str) -> None:
    pipe.xadd(wake_key(queue), {"": ""}, maxlen=1, approximate=False)
