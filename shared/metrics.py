"""All metrics of the system, and the internal port that serves them.

Each process updates the counters and histograms of its own work. Gauges of database and Redis
contents are set by the scheduler (`gateway.operations.row_counts`, `gateway.operations.queues`),
gauges of models, data and training by the monitor (`trainer.monitoring.gauges`): only one process
sets each gauge, so sums over processes count nothing twice. Every gauge has a label, because an
unlabelled gauge is exported as 0 by every process that never sets it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from shared.settings import MetricsSettings

#: Label values of one series, in the order in which the metric declares its labels.
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
    "rayon_http_request_seconds", "Time to answer a request.", ("method", "route"), buckets=_QUICK
)

# Messages, by topic.
messages_published_total = Counter("rayon_messages_published_total", "Messages sent.", ("topic",))
messages_handled_total = Counter("rayon_messages_handled_total", "Messages handled.", ("topic",))
messages_failed_total = Counter(
    "rayon_messages_failed_total", "Handler calls that raised an error.", ("topic",)
)
messages_parked_total = Counter(
    "rayon_messages_parked_total", "Messages parked as dead letters.", ("topic",)
)
messages_deferred_total = Counter(
    "rayon_messages_deferred_total",
    "Messages left to the sweeper because Redis was down.",
    ("topic",),
)
message_wait_seconds = Histogram(
    "rayon_message_wait_seconds",
    "Time from publishing a message to its first delivery.",
    ("topic",),
    buckets=_PATIENT,
)
message_seconds = Histogram(
    "rayon_message_seconds", "Time to handle a message.", ("topic",), buckets=_QUICK
)

# Queues. A queue name is a worker and a lane, such as `text.interactive`.
queue_messages = Gauge("rayon_queue_messages", "Messages in a queue.", ("queue", "state"))
queue_oldest_seconds = Gauge(
    "rayon_queue_oldest_seconds", "Age of the oldest message in a queue.", ("queue",)
)
workers = Gauge("rayon_workers", "Live workers that consume a queue.", ("queue",))
dead_letters = Gauge("rayon_dead_letters", "Dead letters in the database.", ("topic",))

# Jobs and their results.
jobs_submitted_total = Counter("rayon_jobs_submitted_total", "Jobs accepted.", ("lane", "model"))
jobs_finished_total = Counter("rayon_jobs_finished_total", "Jobs that ended.", ("status",))
job_seconds = Histogram(
    "rayon_job_seconds", "Time from a job's submission to its result.", ("lane",), buckets=_PATIENT
)
jobs_swept_total = Counter("rayon_jobs_swept_total", "Jobs whose messages the sweeper sent again.")
jobs_given_up_total = Counter(
    "rayon_jobs_given_up_total", "Jobs failed after their messages were lost too often."
)
rows_skipped_total = Counter(
    "rayon_rows_skipped_total", "Rows of others' data that raised an error.", ("loop",)
)
jobs = Gauge("rayon_jobs", "Jobs in the database.", ("status",))
jobs_oldest_seconds = Gauge(
    "rayon_jobs_oldest_seconds", "Age of the oldest unfinished job.", ("lane",)
)
catalogs = Gauge("rayon_catalogs", "Catalogs in the database.", ("status",))
answers_total = Counter(
    "rayon_answers_total", "Answers; degraded ones lack a modality.", ("lane", "degraded")
)
answer_confidence = Histogram(
    "rayon_answer_confidence", "Confidence of answers.", ("release",), buckets=_SHARE
)
categories_answered_total = Counter(
    "rayon_categories_answered_total", "Answers by category.", ("category",)
)

# Model inference.
batch_items = Histogram("rayon_batch_items", "Items per model call.", ("modality",), buckets=_BATCH)
model_seconds = Histogram(
    "rayon_model_seconds", "Duration of a model call.", ("modality", "release"), buckets=_QUICK
)
image_features_total = Counter(
    "rayon_image_features_total",
    "Feature cache lookups: found (hit), not found (miss), or storage error (failed).",
    ("outcome",),
)
release_in_service = Gauge(
    "rayon_release_in_service",
    "1 for each release that a worker has loaded.",
    ("modality", "release"),
)
release_unloadable = Gauge(
    "rayon_release_unloadable",
    "1 for each release that a worker cannot load.",
    ("modality", "release"),
)
release_copies_broken_total = Counter(
    "rayon_release_copies_broken_total",
    "Copies of releases that differ from their checksums, on the local disk or in the registry.",
    ("place",),
)
champion = Gauge(
    "rayon_champion", "1 for the release that a gateway assigns to jobs.", ("release",)
)

# Quality of models and data.
f1 = Gauge("rayon_f1", "Latest weighted F1.", ("kind", "modality", "release"))
f1_low = Gauge(
    "rayon_f1_low", "Lower bound of the 95 % interval of F1.", ("kind", "modality", "release")
)
f1_high = Gauge(
    "rayon_f1_high", "Upper bound of the 95 % interval of F1.", ("kind", "modality", "release")
)
f1_past_error = Gauge(
    "rayon_f1_past_error",
    "Root mean square error of earlier F1 estimates.",
    ("kind", "modality", "release"),
)
f1_rows = Gauge("rayon_f1_rows", "Rows that F1 was computed on.", ("kind", "modality", "release"))
f1_timestamp = Gauge(
    "rayon_f1_timestamp_seconds", "Time when F1 was measured.", ("kind", "modality", "release")
)
drift_effect = Gauge(
    "rayon_drift_effect", "Drift effect size of the latest window.", ("kind", "release")
)
drift_threshold = Gauge(
    "rayon_drift_threshold", "Effect size from which drift counts as relevant.", ("kind", "release")
)
drift_moved = Gauge(
    "rayon_drift_moved",
    "1 if drift in the latest window is statistically significant.",
    ("kind", "release"),
)
drift_rows = Gauge("rayon_drift_rows", "Answers in the latest window.", ("release",))
drift_timestamp = Gauge(
    "rayon_drift_timestamp_seconds", "Time when drift was measured.", ("release",)
)
data_quality = Gauge(
    "rayon_data_quality", "Value of a data check in the latest window.", ("check",)
)
data_quality_reference = Gauge(
    "rayon_data_quality_reference",
    "Value of the same check in the reference data of the release.",
    ("check",),
)
labels = Gauge(
    "rayon_labels",
    "Answers labelled in the last days by users whose labels are trusted.",
    ("days",),
)
alerts = Gauge(
    "rayon_alerts",
    "Drift alerts by status and source, about `models`, the data quality of `products`, or a "
    "promoted `release`.",
    ("status", "source", "about"),
)

# Trainings and promotions.
training_runs = Gauge("rayon_training_runs", "Training runs.", ("status",))
training_last = Gauge(
    "rayon_training_last", "1 for the status of the run that ended last.", ("status",)
)
training_timestamp = Gauge(
    "rayon_training_timestamp_seconds",
    "Time when a run last finished (succeeded) and when the current run started (began).",
    ("moment",),
)
promotion_timestamp = Gauge(
    "rayon_promotion_timestamp_seconds", "Time when the serving release was promoted.", ("release",)
)
promotion_watch = Gauge(
    "rayon_promotion_watch",
    "1 for the state of the newest watch over a promoted release; none two days after its end.",
    ("release", "state"),
)
promotion_watch_answers = Gauge(
    "rayon_promotion_watch_answers",
    "Answers of the watched release: `seen`, `labelled`, or scored by both releases (`compared`).",
    ("release", "kind"),
)

# Dependencies, and periodic tasks.
dependency_up = Gauge(
    "rayon_dependency_up", "1 if a dependency of this process responds.", ("dependency",)
)
dependency_failures_total = Counter(
    "rayon_dependency_failures_total",
    "Failed calls of a dependency of this process.",
    ("dependency",),
)
free_bytes = Gauge(
    "rayon_free_bytes", "Free disk space of the storage, if it is a folder.", ("dependency",)
)
memory_ratio = Gauge(
    "rayon_memory_ratio", "Used share of the memory limit of Redis.", ("dependency",)
)
task_success_timestamp = Gauge(
    "rayon_task_success_timestamp_seconds",
    "Time of the last success of a periodic task; before that, when it was scheduled.",
    ("task",),
)
task_age = Gauge(
    "rayon_task_age_seconds",
    "Time since the last success of a periodic task, or since it was scheduled. Unlike the age of "
    "its timestamp, it stays right when the clock is set.",
    ("task",),
)
task_interval = Gauge("rayon_task_interval_seconds", "Interval of a periodic task.", ("task",))
task_failures_total = Counter(
    "rayon_task_failures_total", "Failed runs of a periodic task.", ("task",)
)
loop_failures_in_a_row = Gauge(
    "rayon_loop_failures_in_a_row",
    "Failures of a loop since its last success, and the row that stopped it, if there is one.",
    ("loop", "row"),
)
processes = Gauge(
    "rayon_processes",
    "Processes by the state of their heartbeat: `ok`, `failing`, `late`, `silent` or `missing`.",
    ("process", "state"),
)


def serve_metrics(settings: MetricsSettings) -> None:
    """Serve `/metrics` on its own port, unless the port is 0."""
    if settings.port:
        start_http_server(settings.port, addr=settings.host)


def expect(task: str, interval_seconds: float) -> None:
    """Register a periodic task before its first run.

    This makes a task that never succeeds visible by the age of its timestamp. It also creates the
    failure counter at 0: Prometheus sees no increase in a counter that first appears as 1.
    """
    task_interval.labels(task).set(interval_seconds)
    _record_success(task)
    task_failures_total.labels(task)


@contextmanager
def watched(task: str) -> Iterator[None]:
    """Record the success or failure of a periodic task; errors propagate."""
    try:
        yield
    except Exception:
        task_failures_total.labels(task).inc()
        raise
    _record_success(task)


def _record_success(task: str) -> None:
    moment = time.monotonic()
    task_success_timestamp.labels(task).set_to_current_time()
    task_age.labels(task).set_function(lambda: time.monotonic() - moment)


def show(gauge: Gauge, values: Mapping[LabelValues, float]) -> None:
    """Set a gauge to exactly these values and remove all other series.

    Args:
        gauge: Gauge with labels.
        values: Values by label values, in the order in which the gauge declares its labels.
    """
    for labels_, value in values.items():
        gauge.labels(*labels_).set(value)
    for metric in gauge.collect():
        for sample in metric.samples:
            known = tuple(sample.labels.values())
            if known not in values:
                gauge.remove(*known)
