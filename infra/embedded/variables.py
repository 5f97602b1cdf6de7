"""Environment variables by program: each gets its own settings, and no secret of another."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from infra.embedded.settings import MARK

#: Variables of the machine: tools, languages, certificates, proxies and the threads of libraries.
MACHINE = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHON*", "VIRTUAL_ENV", "XDG_*", "COVERAGE_*",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "*_proxy", "*_PROXY", "OMP_*", "OPENBLAS_*", "MKL_*", "MALLOC_*", "SUPERVISOR_*", MARK,
)  # fmt: skip
#: Variables that every service of Rayon reads.
SERVICE = (*MACHINE, "RAYON_LOG_*", "RAYON_METRICS_*", "RAYON_TRACING_*", "OTEL_*")
BROKER = ("RAYON_BROKER_*",)
TABLES = (*BROKER, "RAYON_DATABASE_*", "PG*")
#: The storage, with the credentials of a bucket.
STORAGE = (
    "RAYON_STORAGE_*", "RAYON_CATALOGS_MIN_FREE_BYTES",
    "AWS_*", "AZURE_*", "GOOGLE_*", "GCE_*", "FSSPEC_*",
)  # fmt: skip
REGISTRY = ("RAYON_RELEASES_*", "MLFLOW_*")
#: The part of `RAYON_GATEWAY_*` without secrets (`gateway.settings.ProductSettings`).
PRODUCTS = ("RAYON_GATEWAY_MAX_IMAGE_BYTES*", "RAYON_GATEWAY_MAX_TEXT_CHARACTERS*")
TRAINING = (
    *SERVICE, *TABLES, *STORAGE, *REGISTRY, "RAYON_TRAINER_*", "RAYON_FEATURES_*",
    "TF_*", "KERAS_*", "CUDA_*", "NVIDIA_*", "MPL*", "PIP_*", "UV_*",
)  # fmt: skip

GATEWAY = (
    *SERVICE, *TABLES, *STORAGE, *REGISTRY, "RAYON_GATEWAY_*", "RAYON_RATES_*", "RAYON_GUESSES_*",
    "RAYON_SSO_*", "RAYON_SWEEP_*", "RAYON_CATALOGS_*", "RAYON_EXPLANATIONS_*",
    "RAYON_TRAINER_DATA",
)  # fmt: skip
ACCOUNT = (*GATEWAY, "RAYON_ADMIN_*", "RAYON_ALERTMANAGER_*")
SCHEDULER = (*SERVICE, *TABLES, *STORAGE, *PRODUCTS, "RAYON_SWEEP_*", "RAYON_RETENTION_*")
FEEDER = (*SERVICE, *TABLES, *STORAGE, *PRODUCTS, "RAYON_SWEEP_*", "RAYON_CATALOGS_*")
TEXT = (*SERVICE, *BROKER, *REGISTRY, "RAYON_WORKER_*")
IMAGE = (*TEXT, *STORAGE, "RAYON_FEATURES_*")
FUSION = (*TEXT, *TABLES)
MONITOR = (*TRAINING, "RAYON_MONITOR_*", "RAYON_DRIFT_*", "RAYON_WATCH_*")


def own(environment: Mapping[str, str], patterns: Sequence[str]) -> dict[str, str]:
    """Return the variables whose names match a pattern."""
    return {name: value for name, value in environment.items() if is_own(name, patterns)}


def is_own(name: str, patterns: Sequence[str]) -> bool:
    """Return True if a name matches a pattern."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
