"""Service processes, forked from a process that has already imported their modules.

The libraries of a service are large, so importing it takes seconds of CPU. A fork of a process that
has imported them starts at once. It otherwise equals `python -m MODULE`, because importing a module
of Rayon has no effect and reads no environment. Only functions of `atexit` do not run at its end.
"""

import multiprocessing
import os
import resource
import runpy
import signal
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "gateway.main",
        "infra.embedded.text_worker",
        "tests.integration.probe_worker",
        "tests.integration.training_service",
        "trainer.main",
        "worker_fusion.main",
        "worker_image.main",
        "worker_text.main",
    ]
)


def start(
    module: str, environment: Mapping[str, str], log: Path, *, files: int | None = None
) -> BaseProcess:
    """Start the equivalent of `python -m MODULE`; append its output to a file.

    `files` is the highest limit of open files that the process may ask for.
    """
    process = _CONTEXT.Process(target=_run, args=(module, dict(environment), log, files))
    process.start()
    return process


def _run(module: str, environment: dict[str, str], log: Path, files: int | None) -> None:
    if files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [module]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
