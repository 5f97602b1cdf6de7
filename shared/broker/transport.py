"""Celery's Redis transport, but a message is never outside of Redis while it is taken.

The transport pops a message and writes down afterwards that somebody has it. Between the two the
message is nowhere: queue figures miss it, and a worker that ends there loses it (celery#7950). Here
one script does both, so at every moment a message is either in its queue or in `unacked`.

A script cannot block. So a worker whose queues are empty waits for their `wake` streams, to which
every publisher adds; whoever does not, such as an older version, is noticed when the waiting ends,
after a second.
"""

from collections.abc import Callable, Sequence
from queue import Empty
from time import monotonic, time
from typing import Any

from kombu.transport import redis
from kombu.transport.virtual import QoS as InMemoryQoS
from kombu.utils.json import dumps, loads

#: Redis hash of how many messages were handled, by queue; one for each of these seconds.
HANDLED_PREFIX = "rayon:handled:"
HANDLED_SECONDS = 5
#: How long they are kept; longer than any rate looks back.
HANDLED_EXPIRY_SECONDS = 180
_WAKE_PREFIX = "rayon:wake:"

#: Moves the first message of the first queue that has one to `unacked`, in the form in which the
#: transport writes it there. Without a message it says where the wake streams end, in the same
#: moment: what is published later is behind these ends, so no wake is missed.
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
    """Knows what was delivered and is not acknowledged."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Keep a message that was taken; Redis has it in `unacked` already."""
        InMemoryQoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that was handled, and count it."""
        # After a broken connection it was given back already, and is acknowledged all the same.
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
    """Takes messages with one command, and waits without holding one."""

    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "on_asked")

    #: Called whenever Redis has answered what there is to do: the proof that this worker listens.
    on_asked: Callable[[], None] = staticmethod(lambda: None)

    #: Ends of the wake streams while the queues are empty; `None` when it is time to take.
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
            # The next look connects anew.
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
    """Celery settings of the transport."""

    Channel = Channel


def _wake(pipe: Any, queue: str) -> None:
    pipe.xadd(wake_key(queue), {"": ""}, maxlen=1, approximate=False)
