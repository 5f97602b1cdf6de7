"""Celery's Redis transport: atomic, so that no message is outside Redis, and fair among users.

The original transport pops a message and records it as unacknowledged afterwards. In between the
message is nowhere: queue depths miss it, and a worker that dies loses it (celery#7950). Here one
script does both, so a message is always either in its queue or in `unacked`.

A script cannot block, so a worker with empty queues blocks on their `wake` streams, to which every
publisher appends. It sends the script along with the blocking command, and Redis runs it as soon as
the block ends. Messages of publishers that do not append, such as an older version, are found when
the block times out after two seconds.

Publishers append to the queue. The script divides what has arrived into one list for each share,
the header of a message that names its user, and takes from these lists in turns. So ten thousand
messages of one user delay another user's message by one. Messages without a share have one in
common.
"""

from collections.abc import Callable, Sequence
from queue import Empty
from time import monotonic, time
from typing import Any

import structlog
from kombu.transport import redis
from kombu.transport.virtual import QoS as InMemoryQoS
from kombu.utils.json import dumps, loads
from redis.exceptions import ResponseError

log = structlog.get_logger(__name__)

#: Redis hashes that count handled messages by queue, one hash for each interval of this length.
HANDLED_PREFIX = "rayon:handled:"
HANDLED_SECONDS = 5
#: Lifetime of these hashes, longer than the window of any rate.
HANDLED_EXPIRY_SECONDS = 180
_WAKE_PREFIX = "rayon:wake:"

#: Lists of messages by queue and share, and for each queue the list of its shares in their order.
_SHARE_PREFIX = "rayon:share:"
_SHARES_PREFIX = "rayon:shares:"
#: Header of a message that names its share.
SHARE_HEADER = "share"
#: Messages that one call of the script divides; Redis serves nobody else meanwhile.
_DIVIDED_AT_ONCE = 500

#: Functions of scripts that name these lists. A text in a message cannot contain the patterns by
#: which the scripts find a header: JSON escapes its quotation marks.
SHARE_FUNCTIONS = f"""
local function shares_of(queue) return '{_SHARES_PREFIX}' .. queue end
local function list_of(queue, share) return '{_SHARE_PREFIX}' .. queue .. ':' .. share end
"""
_DIVIDE = f"""
local function divide(queue)
  for _ = 1, {_DIVIDED_AT_ONCE} do
    local message = redis.call('RPOP', queue)
    if not message then return end
    local share = string.match(message, '"{SHARE_HEADER}": ?"([^"]*)"') or ''
    -- A message that returns is the oldest of its share.
    local returns = string.find(message, '"redelivered": ?true')
    local length = redis.call(returns and 'RPUSH' or 'LPUSH', list_of(queue, share), message)
    if length == 1 then redis.call('LPUSH', shares_of(queue), share) end
  end
end
"""

#: Moves the next message of the first queue that has any to `unacked`, in the format of the
#: original transport. If all queues are empty, the script returns the last ids of the wake streams.
#: It is atomic, so every later message has a higher id and no wake is missed.
_TAKE = (
    SHARE_FUNCTIONS
    + _DIVIDE
    + """
local function next_of(queue)
  divide(queue)
  local share = redis.call('RPOP', shares_of(queue))
  if not share then return end
  local message = redis.call('RPOP', list_of(queue, share))
  if redis.call('EXISTS', list_of(queue, share)) == 1 then
    redis.call('LPUSH', shares_of(queue), share)
  end
  return message
end
local count = (#KEYS - 2) / 2
for number = 1, count do
  local queue = KEYS[2 + number]
  local message = next_of(queue)
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
)


def wake_key(queue: str) -> str:
    """Return the key of the stream that announces new messages in a queue."""
    return f"{_WAKE_PREFIX}{queue}"


def shares_key(queue: str) -> str:
    """Return the key of the list of a queue's shares that have waiting messages."""
    return f"{_SHARES_PREFIX}{queue}"


def handled_key(moment: float) -> str:
    """Return the key of the hash that counts messages handled at a Unix time."""
    return f"{HANDLED_PREFIX}{int(moment // HANDLED_SECONDS)}"


class QoS(redis.QoS):
    """Messages that were delivered and not yet acknowledged.

    A message that Redis refuses to remove or to return stays in `unacked`, and is delivered again
    after the visibility timeout. It leaves this process all the same: Celery only logs an error,
    and a consumer that keeps as many messages as it may take does not ask for another one.
    """

    def append(self, message: Any, delivery_tag: str) -> None:
        """Record a received message in memory only; the script has written it to `unacked`."""
        InMemoryQoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a handled message and count it."""
        # After a broken connection the message was already restored to its queue, so it is not in
        # `_delivered`, but Celery acknowledges it all the same.
        message = self._delivered.get(delivery_tag)
        try:
            self._remove(delivery_tag, message)
        except ResponseError:
            # A full Redis refuses to count, but still removes.
            try:
                self._remove(delivery_tag, None)
            except ResponseError as error:
                log.warning("acknowledgement_refused", error=str(error))
        InMemoryQoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Return a message to its queue, or drop it."""
        message = self._delivered.get(delivery_tag)
        # Forget the message before it is back in its queue: this process may receive it again at
        # once, and forgetting it afterwards would drop the new delivery.
        InMemoryQoS.ack(self, delivery_tag)
        try:
            if requeue:
                self.restore_by_tag(delivery_tag, leftmost=True)
            else:
                self._remove(delivery_tag, None)
        except ResponseError as error:
            log.warning("rejection_refused", error=str(error))
        except BaseException:
            if message is not None:
                # It is restored when the channel closes.
                InMemoryQoS.append(self, message, delivery_tag)
            raise

    def restore_visible(self, *arguments: Any, **options: Any) -> None:
        """Return messages to their queues that were not acknowledged for too long."""
        try:
            super().restore_visible(*arguments, **options)
        except ResponseError as error:
            # The messages stay in `unacked` until the next search.
            log.warning("restore_refused", error=str(error))

    def _remove(self, delivery_tag: str, counted: Any) -> None:
        """Remove a message from `unacked`, and count it unless `counted` is `None`."""
        with self.pipe_or_acquire() as pipe:
            self._remove_from_indices(delivery_tag, pipe)
            if counted is not None:
                key = handled_key(time())
                pipe.hincrby(key, counted.delivery_info["routing_key"], 1)
                pipe.expire(key, HANDLED_EXPIRY_SECONDS)
            pipe.execute()


class Channel(redis.Channel):
    """Channel that receives each message by one atomic script, and blocks on wake streams."""

    QoS = QoS
    from_transport_options = (*redis.Channel.from_transport_options, "on_asked")

    #: Called after every answer to a poll, as proof that this worker consumes.
    on_asked: Callable[[], None] = staticmethod(lambda: None)

    #: Last ids of the wake streams if the queues are empty; `None` if the next poll does not wait.
    _ends: Sequence[bytes] | None = None

    #: Client that takes a connection of the pool for each command.
    _pooled: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return a client; the one for single commands is reused, since building it takes time."""
        if asynchronous:
            return super()._create_client(asynchronous=True)
        if self._pooled is None or self._pooled.connection_pool is not self.pool:
            self._pooled = super()._create_client()
        return self._pooled

    def _brpop_start(self, timeout: float | None = None) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        wakes = [wake_key(queue) for queue in queues]
        keys = [self.unacked_key, self.unacked_index_key, *queues, *wakes]
        take = ("EVAL", _TAKE, len(keys), *keys, time())
        if self._ends is None or len(self._ends) != len(wakes):
            self._ends = None
            connection.send_command(*take)
        else:
            wait_ms = int((timeout or self.brpop_timeout) * 1000)
            wait = ("XREAD", "BLOCK", wait_ms, "STREAMS", *wakes, *self._ends)
            connection.send_packed_command(connection.pack_commands([wait, take]))

    def _brpop_read(self, **_options: Any) -> bool:
        was_waiting, self._ends = self._ends is not None, None
        try:
            if was_waiting:
                self.client.parse_response(self.client.connection, "")
            answer = self.client.parse_response(self.client.connection, "")
        except self.connection_errors:
            # The next poll reconnects.
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        self.on_asked()
        if answer[0] is None:
            self._ends = answer[1:]
            raise Empty
        queue, message = answer[0].decode(), answer[1]
        self._queue_cycle.rotate(queue)
        if self._closing:
            # `close` waits for this reply. No consumer is left, so the message goes back.
            self.qos.restore_by_tag(loads(message.decode())["properties"]["delivery_tag"])
            raise Empty
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
    """Redis transport that uses the atomic channel.

    A Redis that answers and refuses (full, read-only, unable to save, loading, without replicas)
    is treated as one that is away: the consumer reconnects, instead of ending the process.
    """

    Channel = Channel
    #: Seconds for which an idle worker blocks. Every end of a block costs two round trips.
    brpop_timeout = 2
    connection_errors = (*redis.Transport.connection_errors, ResponseError)


def _wake(pipe: Any, queue: str) -> None:
    pipe.xadd(wake_key(queue), {"": ""}, maxlen=1, approximate=False)
