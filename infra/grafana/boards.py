"""Grafana boards: queues for operators, models, and business figures."""

from infra.grafana.panels import Board, Panel, figure


def _p95(histogram: str, by: str = "", where: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile(0.95, sum by ({labels}) (rate({histogram}_bucket{where}[5m])))"


def _mean(histogram: str, by: str) -> str:
    return (
        f"sum by ({by}) (rate({histogram}_sum[5m])) / sum by ({by}) (rate({histogram}_count[5m]))"
    )


_DAY = 'increase(rayon_jobs_finished_total{status="done"}[24h])'
_UNSURE = (
    'sum by (release) (rate(rayon_answer_confidence_bucket{le="%s"}[1h])) '
    "/ sum by (release) (rate(rayon_answer_confidence_count[1h]))"
)

QUEUES = Board(
    name="queues",
    title="Queues",
    description="Waiting and running messages, workers and failures.",
    rows={
        "Now": [
            figure("Jobs without an answer", 'max(rayon_jobs{status="queued"})'),
            figure(
                "Oldest single job", 'max(rayon_jobs_oldest_seconds{lane="interactive"})', "s", 60
            ),
            figure("Oldest message", "max(rayon_queue_oldest_seconds)", "s", 120),
            figure("Queues without a worker", "count(rayon_workers == 0) or vector(0)", alarm=1),
            figure(
                "Dead letters", "sum(max by (topic) (rayon_dead_letters)) or vector(0)", alarm=1
            ),
            figure(
                "Alerts",
                'count(ALERTS{alertstate="firing",severity=~"page|warning"}) or vector(0)',
                alarm=1,
            ),
        ],
        "Queues": [
            Panel("Waiting", {"{{queue}}": 'rayon_queue_messages{state="waiting"}'}),
            Panel("Running", {"{{queue}}": 'rayon_queue_messages{state="running"}'}),
            Panel(
                "Age of the oldest message", {"{{queue}}": "rayon_queue_oldest_seconds"}, unit="s"
            ),
            Panel(
                "Wait before handling (p95)",
                {"{{topic}}": _p95("rayon_message_wait_seconds", "topic")},
                unit="s",
            ),
            Panel(
                "Handling time (p95)",
                {"{{topic}}": _p95("rayon_message_seconds", "topic")},
                unit="s",
            ),
            Panel(
                "Messages per second",
                {
                    "{{topic}}": "sum by (topic) (rate(rayon_messages_handled_total[5m]))",
                    "{{topic}}, sent": "sum by (topic) (rate(rayon_messages_published_total[5m]))",
                },
                unit="cps",
            ),
        ],
        "Workers": [
            Panel("Workers", {"{{queue}}": "rayon_workers"}),
            Panel(
                "Products per model call", {"{{modality}}": _mean("rayon_batch_items", "modality")}
            ),
            Panel(
                "Duration of a model call (p95)",
                {
                    "{{modality}}, release {{release}}": _p95(
                        "rayon_model_seconds", "modality, release"
                    )
                },
                unit="s",
            ),
            Panel(
                "Processes without metrics",
                {"{{job}} {{instance}}": "up == 0"},
            ),
            Panel(
                "Processes that make no progress",
                {
                    "{{process}}, {{state}}": "max by (process, state) "
                    '(rayon_processes{state!="ok"})'
                },
                description="By their heartbeats: a loop fails or is late, the process is silent "
                "or missing.",
            ),
            Panel(
                "Image feature cache",
                {
                    "{{outcome}}": "sum by (outcome) (rate(rayon_image_features_total[5m])) "
                    "/ on () group_left () sum(rate(rayon_image_features_total[5m]))"
                },
                unit="percentunit",
            ),
            Panel(
                "Loaded releases",
                {
                    "{{modality}}, release {{release}}": "count by (modality, release) "
                    "(rayon_release_in_service == 1)",
                    "{{modality}}, release {{release}} cannot be loaded": "count by "
                    "(modality, release) (rayon_release_unloadable == 1)",
                },
            ),
        ],
        "Failures": [
            Panel(
                "Failed attempts per minute",
                {"{{topic}}": "sum by (topic) (rate(rayon_messages_failed_total[5m])) * 60"},
            ),
            Panel(
                "Dead letters",
                {
                    "current, {{topic}}": "max by (topic) (rayon_dead_letters)",
                    "parked within an hour, {{topic}}": "sum by (topic) "
                    "(increase(rayon_messages_parked_total[1h]))",
                },
            ),
            Panel(
                "Requeued jobs per minute",
                {
                    "requeued": "sum(rate(rayon_jobs_swept_total[5m])) * 60",
                    "given up": "sum(rate(rayon_jobs_given_up_total[5m])) * 60",
                    "left to the sweeper": "sum(rate(rayon_messages_deferred_total[5m])) * 60",
                },
            ),
            Panel(
                "Broken copies of releases per hour",
                {"{{place}}": "sum by (place) (increase(rayon_release_copies_broken_total[1h]))"},
                description="They differ from their checksums. A local one is fetched again.",
            ),
            Panel(
                "Skipped rows per hour",
                {"{{loop}}": "sum by (loop) (increase(rayon_rows_skipped_total[1h]))"},
                description="Rows that raised an error, and that their task left out.",
            ),
            Panel(
                "Failures in a row of each loop",
                {
                    "{{job}}: {{loop}} {{row}}": "max by (job, loop, row) "
                    "(rayon_loop_failures_in_a_row) > 0"
                },
                description="Since the last success of a task, thread or topic, with the row that "
                "stops it.",
            ),
            Panel(
                "Dependencies",
                {"{{dependency}}": "min by (dependency) (rayon_dependency_up)"},
                description="1 while the dependency answers the scheduler.",
            ),
            Panel(
                "Failed requests to dependencies per minute",
                {
                    "{{job}}: {{dependency}}": "sum by (job, dependency) "
                    "(rate(rayon_dependency_failures_total[5m])) * 60"
                },
            ),
            Panel(
                "Time since the last success of each task",
                {"{{task}}": "min by (task) (rayon_task_age_seconds)"},
                unit="s",
                description="Periodic tasks of the scheduler and the monitor.",
            ),
            Panel(
                "Last success of each task",
                {"{{task}}": "max by (task) (rayon_task_success_timestamp_seconds) * 1000"},
                unit="dateTimeAsIso",
                description="By the clock of the scheduler or the monitor.",
            ),
            Panel(
                "Intervals since the last success",
                {
                    "{{task}}": "min by (task) (rayon_task_age_seconds)"
                    " / max by (task) (rayon_task_interval_seconds)"
                },
                description="An hourly task is at 2 after two hours.",
            ),
            Panel(
                "Failed periodic tasks per minute",
                {"{{task}}": "sum by (task) (rate(rayon_task_failures_total[5m])) * 60"},
            ),
            Panel(
                "Memory of Redis",
                {"used": "max by (dependency) (rayon_memory_ratio)"},
                unit="percentunit",
            ),
            Panel(
                "Free space for images",
                {"free": "min by (dependency) (rayon_free_bytes)"},
                unit="bytes",
            ),
        ],
    },
)

MODELS = Board(
    name="models",
    title="Models",
    description="Quality of the models, drift of the input, and the reactions to it.",
    since="now-30d",
    rows={
        "Now": [
            figure(
                "F1 on the test set", 'max(rayon_f1{kind="test",modality="fusion"})', "percentunit"
            ),
            figure(
                "F1 from labels", 'max(rayon_f1{kind="labelled",modality="fusion"})', "percentunit"
            ),
            figure(
                "Estimated F1", 'max(rayon_f1{kind="estimated",modality="fusion"})', "percentunit"
            ),
            figure("Kinds of drift", "sum(rayon_drift_moved) or vector(0)", alarm=1),
            figure(
                "Last promotion",
                "max(rayon_promotion_timestamp_seconds) * 1000",
                "dateTimeFromNow",
            ),
            figure(
                "Answers of the watched release",
                'max(rayon_promotion_watch_answers{kind="seen"})',
            ),
            figure(
                "Release found worse",
                'sum(rayon_promotion_watch{state=~"roll.*|alerted"}) or vector(0)',
                alarm=1,
            ),
            figure(
                "Last training",
                'max(rayon_training_timestamp_seconds{moment="succeeded"}) * 1000',
                "dateTimeFromNow",
            ),
        ],
        "Quality": [
            Panel(
                "F1 of answers",
                {"{{kind}}, release {{release}}": 'rayon_f1{modality="fusion"}'},
                unit="percentunit",
                description="From labels: month to date. Estimated without labels: last day.",
            ),
            Panel(
                "F1 from labels with interval",
                {
                    "low": 'rayon_f1_low{kind="labelled",modality="fusion"}',
                    "F1": 'rayon_f1{kind="labelled",modality="fusion"}',
                    "high": 'rayon_f1_high{kind="labelled",modality="fusion"}',
                    "test set": 'rayon_f1{kind="test",modality="fusion"}',
                },
                unit="percentunit",
            ),
            Panel(
                "F1 by modality",
                {"{{modality}}, {{kind}}": 'rayon_f1{modality!="fusion"}'},
                unit="percentunit",
            ),
            Panel(
                "Estimated F1 and past error",
                {
                    "estimated, {{modality}}": 'rayon_f1{kind="estimated"}',
                    "past error, {{modality}}": 'rayon_f1_past_error{kind="estimated"}',
                },
                unit="percentunit",
            ),
            Panel("Rows behind the figures", {"{{kind}}, {{modality}}": "rayon_f1_rows"}),
            Panel(
                "Age of the figures",
                {
                    "{{kind}}": "time() - max by (kind) (rayon_f1_timestamp_seconds)",
                    "drift": "time() - max(rayon_drift_timestamp_seconds)",
                },
                unit="s",
            ),
        ],
        "Input": [
            Panel(
                "Drift relative to the threshold",
                {"{{kind}}": "rayon_drift_effect / (rayon_drift_threshold > 0)"},
                unit="percentunit",
                description="Relevant from 100 % if it is also statistically significant.",
            ),
            Panel("Significant drift", {"{{kind}}": "rayon_drift_moved"}),
            Panel("Answers per window", {"release {{release}}": "rayon_drift_rows"}),
            Panel(
                "Data quality and reference",
                {
                    "{{check}}": "rayon_data_quality",
                    "{{check}} of the reference": "rayon_data_quality_reference",
                },
            ),
            Panel(
                "Answers with confidence below .5 and .8",
                {
                    "below .5, release {{release}}": _UNSURE % "0.5",
                    "below .8, release {{release}}": _UNSURE % "0.8",
                },
                unit="percentunit",
            ),
            Panel(
                "Answers without a modality",
                {
                    "{{lane}}": 'sum by (lane) (rate(rayon_answers_total{degraded="yes"}[1h])) '
                    "/ sum by (lane) (rate(rayon_answers_total[1h]))"
                },
                unit="percentunit",
            ),
        ],
        "Reactions": [
            Panel(
                "Alerts",
                {
                    "{{status}}, by {{source}}, {{about}}": 'rayon_alerts{status!="ended"}',
                    "ended": 'sum(max by (source) (rayon_alerts{status="ended"}))',
                },
            ),
            Panel("Trainings", {"{{status}}": "rayon_training_runs"}),
            Panel("Result of the last training", {"{{status}}": "rayon_training_last"}),
            Panel(
                "Duration of the running training",
                {"so far": 'time() - max(rayon_training_timestamp_seconds{moment="began"})'},
                unit="s",
            ),
            Panel(
                "Release assigned to new jobs",
                {"release {{release}}": "count by (release) (rayon_champion == 1)"},
            ),
            Panel("Labels of the last week", {"labels": "rayon_labels"}),
        ],
    },
)

BUSINESS = Board(
    name="business",
    title="Business",
    description="Classified products, latency and confidence.",
    since="now-7d",
    rows={
        "Today": [
            figure("Products in 24 hours", f"sum({_DAY})"),
            figure(
                "Answered within 5 s",
                'sum(increase(rayon_job_seconds_bucket{lane="interactive",le="5.0"}[24h])) '
                '/ sum(increase(rayon_job_seconds_count{lane="interactive"}[24h]))',
                "percentunit",
            ),
            figure(
                "Answers with confidence of .8 or more",
                '1 - sum(increase(rayon_answer_confidence_bucket{le="0.8"}[24h])) '
                "/ sum(increase(rayon_answer_confidence_count[24h]))",
                "percentunit",
            ),
            figure(
                "Failed jobs",
                '(sum(increase(rayon_jobs_finished_total{status="failed"}[24h])) or vector(0)) '
                "/ sum(increase(rayon_jobs_finished_total[24h]))",
                "percentunit",
                0.05,
            ),
            figure(
                "Successful requests",
                '1 - sum(increase(rayon_http_requests_total{status=~"5.."}[24h])) '
                "/ sum(increase(rayon_http_requests_total[24h])) or vector(1)",
                "percentunit",
            ),
            figure(
                "Current F1",
                'max(rayon_f1{kind=~"labelled|estimated",modality="fusion"})',
                "percentunit",
            ),
        ],
        "Products": [
            Panel(
                "Products per hour",
                {"{{lane}}": "sum by (lane) (rate(rayon_answers_total[15m])) * 3600"},
            ),
            Panel(
                "Submitted jobs per hour",
                {"{{model}}": "sum by (model) (rate(rayon_jobs_submitted_total[15m])) * 3600"},
            ),
            Panel(
                "Categories of the last 24 hours",
                {
                    "{{category}}": "topk(15, sum by (category) "
                    "(increase(rayon_categories_answered_total[24h])))"
                },
                kind="bargauge",
            ),
            Panel("Jobs in the database", {"{{status}}": "rayon_jobs"}),
            Panel("Catalogs", {"{{status}}": "rayon_catalogs"}),
            Panel(
                "Failed jobs per hour",
                {"failed": 'sum(rate(rayon_jobs_finished_total{status="failed"}[15m])) * 3600'},
            ),
        ],
        "Latency": [
            Panel(
                "Time to answer (median)",
                {
                    "{{lane}}": "histogram_quantile(0.5, sum by (le, lane) "
                    "(rate(rayon_job_seconds_bucket[15m])))"
                },
                unit="s",
            ),
            Panel(
                "Time to answer (p95)",
                {
                    "{{lane}}": "histogram_quantile(0.95, sum by (le, lane) "
                    "(rate(rayon_job_seconds_bucket[15m])))"
                },
                unit="s",
            ),
            Panel(
                "Time to accept a product (p95)",
                {
                    "single": _p95(
                        "rayon_http_request_seconds", where='{method="POST",route="/v1/jobs"}'
                    )
                },
                unit="s",
            ),
        ],
        "Requests": [
            Panel(
                "Requests per second",
                {
                    "{{method}} {{route}}": "sum by (method, route) "
                    "(rate(rayon_http_requests_total[5m]))"
                },
                unit="reqps",
            ),
            Panel(
                "Refused and failed requests per second",
                {
                    "{{status}}": "sum by (status) "
                    '(rate(rayon_http_requests_total{status=~"[45].."}[5m]))'
                },
                unit="reqps",
            ),
            Panel(
                "Mean confidence",
                {"release {{release}}": _mean("rayon_answer_confidence", "release")},
                unit="percentunit",
            ),
        ],
    },
)

BOARDS = (QUEUES, MODELS, BUSINESS)
