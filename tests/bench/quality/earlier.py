"""Modules of earlier commits, for benchmarks that compare two versions of one function."""

import importlib.util
import subprocess
import tempfile
from pathlib import Path
from types import ModuleType


def module_of(commit: str, path: str) -> ModuleType:
    """Return a module as it was in a commit; what it imports is of the present code.

    Args:
        commit: A commit of this repository.
        path: Path of the module from the root of the project.
    """
    source = subprocess.run(["git", "show", f"{commit}:{path}"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "module_before.py"
        file.write_bytes(source.stdout)
        spec = importlib.util.spec_from_file_location("module_before", file)
        if spec is None or spec.loader is None:
            raise SystemExit(f"Expected a Python module. Received: {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module
