"""Celery consumer that requeues messages of unknown types.

During a rolling update an old worker may receive a message of a type that only the new version
handles. Celery would drop it; here it returns to its queue after a pause, until a worker that
handles the type receives it.
"""

from typing import Any

from celery.worker.consumer import Consumer


class RequeueingConsumer(Consumer):
    """Consumer that passes messages of unknown types to the broker that created the app."""

    def on_unknown_task(self, _body: Any, message: Any, _error: Exception) -> None:
        """Handle a message whose topic has no subscriber in this process."""
        self.app.on_unknown_message(message)
