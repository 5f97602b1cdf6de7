"""No process imports a large library that it does not need while it waits for work."""

import json
import subprocess
import sys

import pytest

#: Libraries that only some work needs, with what they add to a process in MiB.
LARGE = {
    "mlflow": 75,
    "pandas": 32,
    "scipy.stats": 38,
    "sklearn": 40,
    "tensorflow": 400,
    "onnxruntime": 9,
    "zxcvbn": 12,
    "confusable_homoglyphs": 7,
    "psycopg": 5,
}
#: Large libraries that a process needs all the time.
NEEDED = {
    "worker_text.main": {"onnxruntime"},
    "infra.embedded.text_worker": {"onnxruntime"},
    "worker_image.main": {"onnxruntime"},
}
PROCESSES = (
    *("gateway.main", "gateway.feeder", "gateway.scheduler"),
    *("worker_text.main", "worker_image.main", "worker_fusion.main", "infra.embedded.text_worker"),
    *("trainer.main", "trainer.monitor"),
)


@pytest.mark.parametrize("process", PROCESSES)
def test_large_libraries_wait_for_the_work_that_needs_them(process: str) -> None:
    code = f"import json, sys, {process}; print(json.dumps(list(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert LARGE.keys() & set(json.loads(run.stdout)) == NEEDED.get(process, set())
