"""Tests a release folder before it is delivered, where it will run.

In an environment that has only what a worker has, and no network, the worker's own code loads the
release and answers golden rows: products whose probabilities the fitted models gave before they
were exported. A release passes if every answer agrees and comes in time.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest

Floats = NDArray[np.float32]

#: The project: the workers' folders and their requirements.
PROJECT = Path(__file__).parents[2]
#: What a worker's process may import beside its requirements.
SOURCES = ("shared", "worker_text", "worker_image", "worker_fusion")
#: What must not be there: it would mean that the environment is not a worker's.
FOREIGN = ("tensorflow", "keras", "sklearn", "trainer")
#: A first installation downloads some hundred megabytes.
INSTALL_SECONDS = 900.0
PROBE_SECONDS = 600.0
#: Variables that name a bundle of certificate authorities. uv reads the first alone.
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: The system's bundle on Debian and Ubuntu, which uv does not read by default.
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
#: Installers say much when they fail; the first of it says why.
LONGEST_REASON = 400
#: Refuses connections: a release must not need anything that is not in its folder.
NO_NETWORK = """\
import sys


def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"There is no network in the package test: {event} {arguments[1:]}")


sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Tolerance:
    """How far the answers may be from those of the fitted models.

    Attributes:
        probability: Largest difference of any probability of any row.
        top: Smallest share of rows with the same leading category.
    """

    probability: float
    top: float = 0.99


#: Weights in full precision: what is left is the order of additions.
EXACT = Tolerance(1e-3)
#: Weights in 8 bits are off by up to 1/254 of the largest of their channel, in every layer. Of 120
#: images, Xception in 8 bits moved a probability by .054 at most (half of them by less than .007)
#: and gave 97.5 % the same category; the rest was nearer than .01 to a tie. Twice that is a fault.
EIGHT_BITS = Tolerance(0.1, 0.95)


@dataclass(frozen=True)
class Budget:
    """Most milliseconds that one product alone may take, at the 95th percentile."""

    text_ms: float = 100.0
    image_ms: float = 500.0
    fusion_ms: float = 20.0


@dataclass(frozen=True)
class GoldenRows:
    """What one model is asked, and what it must answer.

    Attributes:
        asked: A line for the model's probe each.
        expected: Probabilities of the fitted model, shape `(rows, classes)`.
        tolerance: How far the answers may be off.
    """

    asked: Sequence[Mapping[str, Any]]
    expected: Floats
    tolerance: Tolerance

    @classmethod
    def texts(
        cls,
        products: Iterable[tuple[str, str]],
        expected: Floats,
        tolerance: Tolerance = EIGHT_BITS,
    ) -> "GoldenRows":
        """Golden rows of designation and description."""
        asked = [{"designation": title, "description": body} for title, body in products]
        return cls(asked, expected, tolerance)

    @classmethod
    def images(
        cls, paths: Iterable[Path], expected: Floats, tolerance: Tolerance = EIGHT_BITS
    ) -> "GoldenRows":
        """Golden rows of readable image files."""
        return cls([{"image": str(path.resolve())} for path in paths], expected, tolerance)

    @classmethod
    def fusions(
        cls, text: Floats, image: Floats, expected: Floats, tolerance: Tolerance = EXACT
    ) -> "GoldenRows":
        """Golden rows of both modalities' probabilities, each of shape `(rows, classes)`."""
        pairs = zip(text.tolist(), image.tolist(), strict=True)
        return cls([{"text": one, "image": other} for one, other in pairs], expected, tolerance)


@dataclass(frozen=True)
class Golden:
    """Golden rows of a release: for each model that it has."""

    text: GoldenRows | None = None
    image: GoldenRows | None = None
    fusion: GoldenRows | None = None


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one product alone."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Difference:
    """How far a model's answers are from those of the fitted model.

    Attributes:
        rows: How many were compared.
        largest: Of any probability.
        same_top: Share of rows with the same leading category.
    """

    rows: int
    largest: float
    same_top: float


@dataclass
class PackageVerdict:
    """Whether a release may be delivered; if not, `reasons` say why, a sentence each."""

    reasons: list[str] = field(default_factory=list)
    latencies: dict[str, Latency] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the release."""
        return not self.reasons

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "PackageVerdict":
        """Read what `save` wrote."""
        kept = json.loads(path.read_text("utf-8"))
        return cls(
            kept["reasons"],
            {part: Latency(**values) for part, values in kept["latencies"].items()},
            {part: Difference(**values) for part, values in kept["differences"].items()},
        )

    def figures(self) -> dict[str, float]:
        """The figures by name, such as `package_text_p95_ms`."""
        found = {"package_passed": float(self.passed)}
        for measured in (self.latencies, self.differences):
            for part, values in measured.items():
                found |= {
                    f"package_{part}_{name}": float(value) for name, value in vars(values).items()
                }
        return found


class _Refused(Exception):
    """A sentence that says why a release does not pass."""


def test_package(folder: Path, golden: Golden, budget: Budget, work: Path) -> PackageVerdict:
    """Test a release folder; never raises for what is wrong with it, or with the machine.

    Args:
        folder: The release.
        golden: At least one row for each model of the release.
        budget: Of time.
        work: Where the environments are kept; only the first test of some requirements installs.
    """
    verdict = PackageVerdict()
    try:
        manifest = ReleaseManifest.read(folder)
    except InvalidInput as error:
        verdict.reasons.append(error.detail)
        return verdict
    parts = [modality.value for modality in manifest.modalities]
    if len(parts) > 1:
        parts.append("fusion")
    for part in parts:
        rows: GoldenRows | None = getattr(golden, part)
        try:
            _test_part(part, folder, rows, getattr(budget, f"{part}_ms"), work, verdict)
        except _Refused as refused:
            verdict.reasons.append(str(refused))
        except OSError as error:
            verdict.reasons.append(f"The test of the {part} model did not end: {error}")
    return verdict


def surroundings() -> dict[str, str]:
    """What a verdict stands on beside the release: the workers' code and requirements, Python."""
    files = [path for name in SOURCES for path in (PROJECT / name).rglob("*.py")]
    files += (PROJECT / "requirements").glob("worker_*.txt")
    found = {
        path.relative_to(PROJECT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }
    return found | {"python": sys.version}


def environment(worker: str, work: Path) -> Path:
    """Make the environment of a worker, unless it is there; returns its Python.

    Raises:
        InvalidInput: It cannot be made; the message says why.
    """
    requirements = PROJECT / "requirements" / f"{worker}.txt"
    if not requirements.is_file():
        raise InvalidInput(f"Expected the requirements {requirements.name}. Received: none")
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    if uv is None:
        raise InvalidInput("Expected the installer `uv` beside this Python. Received: none")
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    there = work / f"{worker}-{digest[:16]}"
    python = there / "bin" / "python"
    if python.exists():
        return python
    # There may be one whose Python is gone from this machine.
    shutil.rmtree(there, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    # Made aside and renamed: a test that is stopped here leaves no half of one.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=work) as aside:
        made = Path(aside) / there.name
        _install(uv, made, requirements)
        # Another test may have been first; its environment is the same.
        if not there.exists():
            made.rename(there)
    return python


def _install(uv: str, folder: Path, requirements: Path) -> None:
    make = [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder)]
    python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r"]
    for command in (make, [*install, str(requirements)]):
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                env=os.environ | _trusted_bundle(),
            )
        except subprocess.CalledProcessError as error:
            said = " ".join(error.stderr.split())
            raise InvalidInput(said[:LONGEST_REASON] or str(error)) from error
        except (subprocess.TimeoutExpired, OSError) as error:
            raise InvalidInput(str(error)) from error


def _trusted_bundle() -> dict[str, str]:
    """Return the variable with which uv trusts the bundle that the user names, else the system's.

    The system's bundle may hold a private authority that signs the package index.
    """
    named = filter(None, map(os.environ.get, BUNDLE_VARIABLES))
    bundle = Path(next(named, SYSTEM_BUNDLE))
    if bundle.is_dir():
        return {"SSL_CERT_DIR": str(bundle)}
    return {"SSL_CERT_FILE": str(bundle)} if bundle.exists() else {}


def _test_part(
    part: str,
    folder: Path,
    golden: GoldenRows | None,
    budget_ms: float,
    work: Path,
    verdict: PackageVerdict,
) -> None:
    if golden is None or not golden.asked:
        raise _Refused(f"There are no golden rows for the {part} model, so nothing is proven of it")
    try:
        python = environment(f"worker_{part}", work / "environments")
    except (InvalidInput, OSError) as error:
        raise _Refused(f"The environment of worker_{part} cannot be made: {error}") from error
    with sources_in(work) as sources:
        _refuse_foreign(part, python, sources)
        answers = _ask(part, python, sources, folder, golden)
    latency = _latency(answers)
    verdict.latencies[part] = latency
    if latency.p95_ms > budget_ms:
        verdict.reasons.append(
            f"The {part} model takes {latency.p95_ms:.1f} ms for one product at the 95th "
            f"percentile, and {budget_ms:g} ms are allowed"
        )
    found = np.array([answer["probabilities"] for answer in answers], np.float32)
    if found.shape != golden.expected.shape:
        raise _Refused(
            f"The {part} model answers with shape {found.shape}, "
            f"and the fitted model with {golden.expected.shape}"
        )
    difference = _difference(found, golden.expected)
    verdict.differences[part] = difference
    verdict.reasons += _objections(part, difference, golden.tolerance)


@contextmanager
def sources_in(work: Path) -> Iterator[Path]:
    """A folder with the workers' code and nothing of the trainer's, and the refusal to connect."""
    with tempfile.TemporaryDirectory(prefix=".sources-", dir=work) as folder:
        for name in SOURCES:
            (Path(folder) / name).symlink_to(PROJECT / name)
        (Path(folder) / "sitecustomize.py").write_text(NO_NETWORK, "utf-8")
        yield Path(folder)


def _refuse_foreign(part: str, python: Path, sources: Path) -> None:
    code = (
        "import importlib.util, sys; "
        "print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    )
    ran = run_clean([str(python), "-c", code, *FOREIGN], sources, "")
    if ran.returncode:
        raise _Refused(f"Python does not start for worker_{part}: {_last_line(ran.stderr)}")
    if names := ran.stdout.split():
        raise _Refused(f"The environment of worker_{part} has {', '.join(names)}, a worker has not")


def _ask(
    part: str, python: Path, sources: Path, folder: Path, golden: GoldenRows
) -> list[dict[str, Any]]:
    lines = "".join(json.dumps(asked) + "\n" for asked in golden.asked)
    command = [str(python), "-m", f"worker_{part}.probe", str(folder.resolve())]
    ran = run_clean(command, sources, lines)
    if ran.returncode:
        raise _Refused(f"worker_{part} does not load the release: {_last_line(ran.stderr)}")
    answers = [json.loads(line) for line in ran.stdout.splitlines()[1:]]
    if len(answers) != len(golden.asked):
        raise _Refused(f"worker_{part} answered {len(answers)} of {len(golden.asked)} golden rows")
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors:
        raise _Refused(
            f"worker_{part} fails on {len(errors)} of {len(answers)} golden rows: {errors[0]}"
        )
    return answers


def run_clean(command: list[str], sources: Path, given: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the workers' code alone, with nothing of this process's environment."""
    # But for what a Python needs: no settings, no other packages.
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        return subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            cwd=sources,
            env=clean | {"PYTHONPATH": str(sources), "PYTHONUTF8": "1"},
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _Refused(f"The worker's Python did not end: {error}") from error


def _latency(answers: Sequence[Mapping[str, Any]]) -> Latency:
    p50, p95 = np.percentile([answer["milliseconds"] for answer in answers], (50, 95))
    return Latency(float(p50), float(p95))


def _difference(found: Floats, expected: Floats) -> Difference:
    return Difference(
        rows=len(found),
        largest=float(np.abs(found - expected).max()),
        same_top=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )


def _objections(part: str, found: Difference, allowed: Tolerance) -> list[str]:
    objections = []
    # Written so that a probability that is no number is an objection too.
    if not found.largest <= allowed.probability:
        objections.append(
            f"A probability of the {part} model differs by {found.largest:.4f} from that of the "
            f"fitted model, and {allowed.probability:g} is allowed ({found.rows} golden rows)"
        )
    if found.same_top < allowed.top:
        objections.append(
            f"The {part} model gives {found.same_top:.1%} of {found.rows} golden rows the category "
            f"of the fitted model, and {allowed.top:.0%} are expected"
        )
    return objections


def _last_line(output: str | None) -> str:
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
