"""Every metric of the system, declared once, and the internal port that serves them.

Counters and histograms are kept where things happen. Gauges of database and Redis contents are set
by the scheduler (`gateway.operations.row_counts`, `gateway.operations.queues`), gauges of models,
data and training by the monitor (`trainer.monitoring.gauges`): one process each, so that no sum
counts twice. Every gauge has a label: without one, each process would export an unset zero.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from shared.settings import MetricsSettings

#: Of one series, in the order in which its metric declares the labels.
LabelValues = TypeVar("LabelValues", bound=tuple[str, ...])

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PATIENT = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SHARE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

# Requests.
requests_total = Counter(
    "rayon_http_requests_total", "HTTP requests answered.", ("method", "route", "status")
)
request_seconds = Histogram(
    "rayon_http_request_seconds", "Time to answer.", ("method", "route"), buckets=_QUICK
)

# Messages, by contract.
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
message_wait_seconds = Histogram(
    "rayon_message_wait_seconds",
    "From sending a message to taking it, the first time.",
    ("topic",),
    buckets=_PATIENT,
)
message_seconds = Histogram(
    "rayon_message_seconds", "Time to handle a message.", ("topic",), buckets=_QUICK
)

# Queues: a station and a lane each, such as `text.interactive`.
queue_messages = Gauge("rayon_queue_messages", "Messages in a queue.", ("queue", "state"))
queue_oldest_seconds = Gauge("rayon_queue_oldest_seconds", "Age of the head.", ("queue",))
workers = Gauge("rayon_workers", "Workers that announce that they consume a queue.", ("queue",))
dead_letters = Gauge("rayon_dead_letters", "Dead letters that are there.", ("topic",))

# Jobs and their answers.
jobs_submitted_total = Counter("rayon_jobs_submitted_total", "Jobs taken.", ("lane", "model"))
jobs_finished_total = Counter("rayon_jobs_finished_total", "Jobs done or failed.", ("status",))
job_seconds = Histogram(
    "rayon_job_seconds", "From a job's submission to its answer.", ("lane",), buckets=_PATIENT
)
jobs_swept_total = Counter("rayon_jobs_swept_total", "Jobs whose message was sent again.")
jobs_given_up_total = Counter(
    "rayon_jobs_given_up_total", "Jobs that failed because their messages were lost too often."
)
jobs = Gauge("rayon_jobs", "Jobs in the database.", ("status",))
jobs_oldest_seconds = Gauge(
    "rayon_jobs_oldest_seconds", "Age of the oldest job that has no answer yet.", ("lane",)
)
catalogs = Gauge("rayon_catalogs", "Catalogs in the database.", ("status",))
answers_total = Counter(
    "rayon_answers_total", "Answers, and whether a modality was missing.", ("lane", "degraded")
)
answer_confidence = Histogram(
    "rayon_answer_confidence", "How sure answers are.", ("release",), buckets=_SHARE
)
categories_answered_total = Counter(
    "rayon_categories_answered_total", "Answers by category.", ("category",)
)

# Models at work.
batch_items = Histogram(
    "rayon_batch_items", "Items in a model call.", ("modality",), buckets=_BATCH
)
model_seconds = Histogram(
    "rayon_model_seconds", "Time of a model call.", ("modality", "release"), buckets=_QUICK
)
image_features_total = Counter(
    "rayon_image_features_total",
    "Images whose features were known (hit), not known (miss), or not read or kept (failed).",
    ("outcome",),
)
release_in_service = Gauge(
    "rayon_release_in_service", "1 for the releases a worker has ready.", ("modality", "release")
)
champion = Gauge("rayon_champion", "1 for the release that a gateway gives to jobs.", ("release",))

# How good the models are, and what their data are like.
f1 = Gauge("rayon_f1", "Newest weighted F1.", ("kind", "modality", "release"))
f1_low = Gauge("rayon_f1_low", "Lower end of F1's interval.", ("kind", "modality", "release"))
f1_high = Gauge("rayon_f1_high", "Upper end of F1's interval.", ("kind", "modality", "release"))
f1_past_error = Gauge(
    "rayon_f1_past_error",
    "How far earlier estimates of F1 were from the truth, as root of the mean square.",
    ("kind", "modality", "release"),
)
f1_rows = Gauge("rayon_f1_rows", "Rows that F1 is of.", ("kind", "modality", "release"))
f1_timestamp = Gauge(
    "rayon_f1_timestamp_seconds", "When F1 was measured.", ("kind", "modality", "release")
)
drift_effect = Gauge("rayon_drift_effect", "Drift of the newest window.", ("kind", "release"))
drift_threshold = Gauge(
    "rayon_drift_threshold", "From which effect on drift matters.", ("kind", "release")
)
drift_moved = Gauge(
    "rayon_drift_moved", "1 if the newest window moved beyond chance.", ("kind", "release")
)
drift_rows = Gauge("rayon_drift_rows", "Answers in the newest window.", ("release",))
drift_timestamp = Gauge("rayon_drift_timestamp_seconds", "When drift was measured.", ("release",))
data_quality = Gauge(
    "rayon_data_quality", "A check of the newest window's data, such as a share.", ("check",)
)
data_quality_reference = Gauge(
    "rayon_data_quality_reference", "The same check of the release's reference.", ("check",)
)
labels = Gauge("rayon_labels", "Answers that people labelled of late.", ("days",))
alerts = Gauge(
    "rayon_alerts",
    "Drift alerts by what becomes of them, about `models`, or the quality of `products`.",
    ("status", "source", "about"),
)

# Trainings and promotions.
training_runs = Gauge("rayon_training_runs", "Training runs.", ("status",))
training_last = Gauge(
    "rayon_training_last", "1 for how the run that ended last ended.", ("status",)
)
training_timestamp = Gauge(
    "rayon_training_timestamp_seconds",
    "When a training last came to its end (succeeded), and the one that runs began (began).",
    ("moment",),
)
promotion_timestamp = Gauge(
    "rayon_promotion_timestamp_seconds", "When the release that serves began to.", ("release",)
)

# The parts that Rayon stands on.
dependency_up = Gauge(
    "rayon_dependency_up", "Whether a part that this process needs answers it.", ("dependency",)
)
dependency_failures_total = Counter(
    "rayon_dependency_failures_total",
    "Calls of a part that this process needs which it did not answer.",
    ("dependency",),
)
free_bytes = Gauge(
    "rayon_free_bytes", "Room that is left; of the storage, if it is a folder.", ("dependency",)
)
memory_ratio = Gauge(
    "rayon_memory_ratio", "Used share of the memory that it may use, of Redis.", ("dependency",)
)
task_success_timestamp = Gauge(
    "rayon_task_success_timestamp_seconds",
    "When something that is done by the clock last went well; at first, since when it is done.",
    ("task",),
)
task_interval = Gauge(
    "rayon_task_interval_seconds", "How often something is done by the clock.", ("task",)
)
task_failures_total = Counter(
    "rayon_task_failures_total", "Attempts at things done by the clock that failed.", ("task",)
)


def serve_metrics(settings: MetricsSettings) -> None:
    """Serve `/metrics` on its own port, unless the port is 0."""
    if settings.port:
        start_http_server(settings.port, addr=settings.host)


def expect(task: str, interval_seconds: float) -> None:
    """Show that something is done by the clock from now on.

    What never goes well is missed by that as well, and its first failure is seen as one: a counter
    that is born as 1 has not risen.
    """
    task_interval.labels(task).set(interval_seconds)
    task_success_timestamp.labels(task).set_to_current_time()
    task_failures_total.labels(task)


@contextmanager
def watched(task: str) -> Iterator[None]:
    """Count how something goes that is done by the clock; errors pass through."""
    try:
        yield
    except Exception:
        task_failures_total.labels(task).inc()
        raise
    task_success_timestamp.labels(task).set_to_current_time()


def show(gauge: Gauge, values: Mapping[LabelValues, float]) -> None:
    """Set a gauge to exactly these values; what no longer holds is not shown any more.

    Args:
        gauge: With labels.
        values: By the labels' values, in the order of the declaration.
    """
    for labels_, value in values.items():
        gauge.labels(*labels_).set(value)
    for metric in gauge.collect():
        for sample in metric.samples:
            known = tuple(sample.labels.values())
            if known not in values:
                gauge.remove(*known)
