"""Every metric of the system, declared once, and the internal port that serves them."""

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from shared.settings import MetricsSettings

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)

requests_total = Counter(
    "rayon_http_requests_total", "HTTP requests answered.", ("method", "route", "status")
)
request_seconds = Histogram(
    "rayon_http_request_seconds", "Time to answer.", ("method", "route"), buckets=_QUICK
)
messages_published_total = Counter("rayon_messages_published_total", "Messages sent.", ("topic",))
messages_handled_total = Counter("rayon_messages_handled_total", "Messages handled.", ("topic",))
messages_failed_total = Counter(
    "rayon_messages_failed_total", "Handlers that raised; the message is tried again.", ("topic",)
)
messages_parked_total = Counter(
    "rayon_messages_parked_total", "Messages given up as dead letters.", ("topic",)
)
messages_deferred_total = Counter(
    "rayon_messages_deferred_total", "Messages left to the sweeper: the queue was down.", ("topic",)
)
message_seconds = Histogram(
    "rayon_message_seconds", "Time to handle a message.", ("topic",), buckets=_QUICK
)
batch_items = Histogram(
    "rayon_batch_items", "Items in a model call.", ("modality",), buckets=_BATCH
)
model_seconds = Histogram(
    "rayon_model_seconds", "Time of a model call.", ("modality", "release"), buckets=_QUICK
)
image_features_total = Counter(
    "rayon_image_features_total",
    "Pictures whose features were known (hit), not known (miss), or not read or kept (failed).",
    ("outcome",),
)
jobs_submitted_total = Counter("rayon_jobs_submitted_total", "Jobs taken.", ("lane", "model"))
jobs_finished_total = Counter("rayon_jobs_finished_total", "Jobs in a final state.", ("status",))
job_seconds = Histogram(
    "rayon_job_seconds", "From a job's submission to its answer.", ("lane",), buckets=_QUICK
)
jobs_swept_total = Counter("rayon_jobs_swept_total", "Jobs whose message was sent again.")
release_in_service = Gauge(
    "rayon_release_in_service", "1 for the releases a process has ready.", ("release",)
)
queue_messages = Gauge("rayon_queue_messages", "Messages in a queue.", ("queue", "state"))
queue_oldest_seconds = Gauge("rayon_queue_oldest_seconds", "Age of the head.", ("queue",))


def serve_metrics(settings: MetricsSettings) -> None:
    """Serve `/metrics` on its own port, unless the port is 0."""
    if settings.port:
        start_http_server(settings.port, addr=settings.host)
