"""Celery's consumer, but what it does not know is not thrown away.

While a new version is rolled out, an old worker may take a message of a kind that it has never
heard of. Celery would drop it; here it is given back after a pause, until a worker that knows it
takes it.
"""

from typing import Any

from celery.worker.consumer import Consumer


class PatientConsumer(Consumer):
    """Hands strangers to the broker that made the app."""

    def on_unknown_task(self, _body: Any, message: Any, _error: Exception) -> None:
        """Handle a message whose topic has no subscriber in this process."""
        self.app.on_stranger(message)
