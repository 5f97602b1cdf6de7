"""The monitor: measures drift and performance, watches promotions and responds to alerts."""

from shared.broker import Broker, process_name
from shared.contracts import MONITORING_QUEUE, DriftDetected, ReportRequested
from shared.db.session import UnitOfWork, open_engine
from shared.inference.releases.registry import Releases
from shared.invalid_settings import run_program
from shared.lifecycle.promotion import reconcile
from shared.schedule import Schedule
from shared.service import exit_on_sigterm, start_service
from shared.settings import (
    BrokerSettings,
    DatabaseSettings,
    ReleaseSettings,
    StorageSettings,
)
from shared.storage import Storage
from trainer.monitoring.alert_response import AlertResponse
from trainer.monitoring.drift.windows import DriftWatch
from trainer.monitoring.gauges import Gauges
from trainer.monitoring.performance.measure import Performances
from trainer.monitoring.performance.reviews import Reviews
from trainer.monitoring.promotion_watch.comparing import Comparing
from trainer.monitoring.promotion_watch.watch import PromotionWatch
from trainer.monitoring.report.reports import Reports
from trainer.monitoring.schedule import Requests
from trainer.monitoring.settings import DriftSettings, MonitorSettings, WatchSettings
from trainer.settings import TrainerSettings

QUEUES = (MONITORING_QUEUE,)
#: Interval between updates of the model, data and training metrics from the database.
GAUGES_SECONDS = 30.0
#: Interval between comparisons of the promotion ledger with the registry.
PROMOTION_SECONDS = 30.0
#: Interval between checks for a finished month that has no report yet.
REPORT_SECONDS = 600.0
#: Interval between checks for requested reports whose messages were lost.
REQUESTS_SECONDS = 60.0


def main() -> int:
    """Run the monitor until SIGTERM."""
    start_service("monitor")
    broker = Broker(BrokerSettings())
    unit_of_work = UnitOfWork(open_engine(DatabaseSettings()), broker)
    settings = MonitorSettings()
    response = AlertResponse(unit_of_work, settings)
    registry, storage = Releases(ReleaseSettings()), Storage(StorageSettings())
    performances = Performances(unit_of_work, registry, settings, TrainerSettings())
    drift_settings = DriftSettings()
    drift = DriftWatch(unit_of_work, registry, storage, drift_settings)
    watch_settings = WatchSettings()
    comparing = Comparing(registry, TrainerSettings(), watch_settings.images, performances.stopping)
    watch = PromotionWatch(unit_of_work, registry, watch_settings, comparing)

    reports = Reports(unit_of_work, registry, performances)
    schedule = Schedule()
    months = Requests(reports.make, "report", performances.stopping)

    def on_drift_detected(alert: DriftDetected) -> None:
        response.decide(alert.alert_id)

    def on_report_requested(request: ReportRequested) -> None:
        # The message is acknowledged at once: a report of a million jobs takes minutes, and alerts
        # wait behind it in the queue. The row of a report that a crash ends is found again.
        months.submit(request.month)

    broker.subscribe(DriftDetected, on_drift_detected)
    broker.subscribe(ReportRequested, on_report_requested)
    broker.presence(process_name("monitor"), QUEUES).start()
    broker.heartbeat("monitor").start()
    schedule.every(settings.measure_seconds, "measure", performances.measure)
    schedule.every(settings.measure_seconds, "score_champion", performances.score_champion)
    schedule.every(settings.interval_seconds, "alerts", response.look)
    schedule.every(REPORT_SECONDS, "report", reports.make_due)
    schedule.every(REQUESTS_SECONDS, "requested_reports", reports.make_requested)
    schedule.every(PROMOTION_SECONDS, "promotions", lambda: reconcile(unit_of_work, registry))
    schedule.every(watch_settings.interval_seconds, "promotion_watch", watch.look)
    schedule.every(GAUGES_SECONDS, "gauges", Gauges(unit_of_work).refresh)
    schedule.every(drift_settings.interval_seconds, "drift", drift.look)
    schedule.every(settings.measure_seconds, "reviews", Reviews(unit_of_work, settings).choose)
    exit_on_sigterm()
    schedule.start()
    try:
        return broker.run(QUEUES, threads=1)
    finally:
        performances.stopping.set()
        schedule.stop()
        schedule.join()


if __name__ == "__main__":
    run_program(main)
