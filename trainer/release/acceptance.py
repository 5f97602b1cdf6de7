"""Acceptance test of a release folder, in the environments where it will run.

In an environment with only a worker's packages and no network, the worker's own code loads the
release and scores golden rows: products with the probabilities that the fitted models computed
before the export. A release passes if every answer agrees and is fast enough.
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

#: Root of the project, with the workers' folders and requirements.
PROJECT = Path(__file__).parents[2]
#: Packages that a worker's process may import beside its requirements.
SOURCES = ("shared", "worker_text", "worker_image", "worker_fusion")
#: Packages that a worker's environment must not contain.
FOREIGN = ("tensorflow", "keras", "sklearn", "trainer")
#: A first installation downloads several hundred megabytes.
INSTALL_SECONDS = 900.0
PROBE_SECONDS = 600.0
#: Variables that name a bundle of certificate authorities. uv reads only the first.
BUNDLE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: The system's bundle on Debian and Ubuntu, which uv does not read by default.
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
#: Length at which an installer's error is cut; its beginning contains the reason.
LONGEST_REASON = 400
#: Audit hook that refuses connections: a release must not need anything outside its folder.
NO_NETWORK = """\
import sys


def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"There is no network in the package test: {event} {arguments[1:]}")


sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Tolerance:
    """Largest allowed difference from the answers of the fitted models.

    Attributes:
        probability: Largest difference of any probability of any row.
        top: Smallest share of rows with the same most likely category.
    """

    probability: float
    top: float = 0.99


#: For weights in full precision: only the order of additions differs.
EXACT = Tolerance(1e-3)
#: Weights in 8 bits are off by up to 1/254 of the largest of their channel, in every layer. For 120
#: images, Xception in 8 bits changed a probability by .054 at most (half of them by less than .007)
#: and gave 97.5 % the same category; the others were within .01 of a tie. Twice that is a fault.
EIGHT_BITS = Tolerance(0.1, 0.95)


@dataclass(frozen=True)
class Budget:
    """Latency limits of a single product in milliseconds, at the 95th percentile."""

    text_ms: float = 100.0
    image_ms: float = 500.0
    fusion_ms: float = 20.0


@dataclass(frozen=True)
class GoldenRows:
    """Input of one model, and the expected output.

    Attributes:
        asked: One request line each for the model's probe.
        expected: Probabilities of the fitted model, shape `(rows, classes)`.
        tolerance: Largest allowed difference.
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
        """Return golden rows of designation and description."""
        asked = [{"designation": title, "description": body} for title, body in products]
        return cls(asked, expected, tolerance)

    @classmethod
    def images(
        cls, paths: Iterable[Path], expected: Floats, tolerance: Tolerance = EIGHT_BITS
    ) -> "GoldenRows":
        """Return golden rows of readable image files."""
        return cls([{"image": str(path.resolve())} for path in paths], expected, tolerance)

    @classmethod
    def fusions(
        cls, text: Floats, image: Floats, expected: Floats, tolerance: Tolerance = EXACT
    ) -> "GoldenRows":
        """Return golden rows of both modalities' probabilities, each `(rows, classes)`."""
        pairs = zip(text.tolist(), image.tolist(), strict=True)
        return cls([{"text": one, "image": other} for one, other in pairs], expected, tolerance)


@dataclass(frozen=True)
class Golden:
    """Golden rows for each model of a release."""

    text: GoldenRows | None = None
    image: GoldenRows | None = None
    fusion: GoldenRows | None = None


@dataclass(frozen=True)
class Latency:
    """Latency of a single product, in milliseconds."""

    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Difference:
    """Difference between a model's answers and those of the fitted model.

    Attributes:
        rows: Number of compared rows.
        largest: Largest difference of any probability.
        same_top: Share of rows with the same most likely category.
    """

    rows: int
    largest: float
    same_top: float


@dataclass
class PackageVerdict:
    """Result of the acceptance test: figures, and a sentence for each reason against delivery."""

    reasons: list[str] = field(default_factory=list)
    latencies: dict[str, Latency] = field(default_factory=dict)
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if the release may be delivered."""
        return not self.reasons

    def save(self, path: Path) -> None:
        """Write the verdict as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "PackageVerdict":
        """Read a verdict that `save` wrote."""
        kept = json.loads(path.read_text("utf-8"))
        return cls(
            kept["reasons"],
            {part: Latency(**values) for part, values in kept["latencies"].items()},
            {part: Difference(**values) for part, values in kept["differences"].items()},
        )

    def figures(self) -> dict[str, float]:
        """Return the figures by name, such as `package_text_p95_ms`."""
        found = {"package_passed": float(self.passed)}
        for measured in (self.latencies, self.differences):
            for part, values in measured.items():
                found |= {
                    f"package_{part}_{name}": float(value) for name, value in vars(values).items()
                }
        return found


class _Rejected(Exception):
    """The release does not pass; the message is the reason, a full sentence."""


def test_package(folder: Path, golden: Golden, budget: Budget, work: Path) -> PackageVerdict:
    """Test a release folder; a fault of the release or the machine becomes a reason, not an error.

    Args:
        folder: Release folder.
        golden: At least one row for each model of the release.
        budget: Latency limits.
        work: Folder of the environments; only the first test with some requirements installs.
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
        except _Rejected as rejected:
            verdict.reasons.append(str(rejected))
        except OSError as error:
            verdict.reasons.append(f"The test of the {part} model failed: {error}")
    return verdict


def surroundings() -> dict[str, str]:
    """Return digests of the workers' code and requirements, and the version of Python.

    A verdict depends on them beside the release.
    """
    files = [path for name in SOURCES for path in (PROJECT / name).rglob("*.py")]
    files += (PROJECT / "requirements").glob("worker_*.txt")
    found = {
        path.relative_to(PROJECT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }
    return found | {"python": sys.version}


def environment(worker: str, work: Path) -> Path:
    """Create the environment of a worker unless it exists; return its Python.

    Raises:
        InvalidInput: It cannot be created; the message contains the reason.
    """
    requirements = PROJECT / "requirements" / f"{worker}.txt"
    if not requirements.is_file():
        raise InvalidInput(f"Expected the requirements {requirements.name}. Received: none")
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    if uv is None:
        raise InvalidInput("Expected the installer `uv` beside this Python. Received: none")
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    target = work / f"{worker}-{digest[:16]}"
    python = target / "bin" / "python"
    if python.exists():
        return python
    # An environment may remain whose Python was removed from this machine.
    shutil.rmtree(target, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    # Created under another name and renamed, so that an interrupted test leaves no partial one.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=work) as temporary:
        created = Path(temporary) / target.name
        _install(uv, created, requirements)
        # Another test may have created the same environment meanwhile.
        if not target.exists():
            created.rename(target)
    return python


def _install(uv: str, folder: Path, requirements: Path) -> None:
    create = [uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder)]
    python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r"]
    for command in (create, [*install, str(requirements)]):
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
            output = " ".join(error.stderr.split())
            raise InvalidInput(output[:LONGEST_REASON] or str(error)) from error
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
        raise _Rejected(f"Expected golden rows for the {part} model. Received: none")
    try:
        python = environment(f"worker_{part}", work / "environments")
    except (InvalidInput, OSError) as error:
        raise _Rejected(f"The environment of worker_{part} cannot be created: {error}") from error
    with sources_in(work) as sources:
        _refuse_foreign(part, python, sources)
        answers = _ask(part, python, sources, folder, golden)
    latency = _latency(answers)
    verdict.latencies[part] = latency
    if latency.p95_ms > budget_ms:
        verdict.reasons.append(
            f"The {part} model takes {latency.p95_ms:.1f} ms for one product at the 95th "
            f"percentile; the limit is {budget_ms:g} ms"
        )
    found = np.array([answer["probabilities"] for answer in answers], np.float32)
    if found.shape != golden.expected.shape:
        raise _Rejected(
            f"Expected probabilities of shape {golden.expected.shape} from the {part} model, as "
            f"from the fitted model. Received: {found.shape}"
        )
    difference = _difference(found, golden.expected)
    verdict.differences[part] = difference
    verdict.reasons += _objections(part, difference, golden.tolerance)


@contextmanager
def sources_in(work: Path) -> Iterator[Path]:
    """Make a temporary folder with only the workers' code, and a hook that refuses connections."""
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
        raise _Rejected(f"Python does not start for worker_{part}: {_last_line(ran.stderr)}")
    if names := ran.stdout.split():
        raise _Rejected(
            f"The environment of worker_{part} contains {', '.join(names)}; a worker's must not"
        )


def _ask(
    part: str, python: Path, sources: Path, folder: Path, golden: GoldenRows
) -> list[dict[str, Any]]:
    lines = "".join(json.dumps(asked) + "\n" for asked in golden.asked)
    command = [str(python), "-m", f"worker_{part}.probe", str(folder.resolve())]
    ran = run_clean(command, sources, lines)
    if ran.returncode:
        raise _Rejected(f"worker_{part} cannot load the release: {_last_line(ran.stderr)}")
    answers = [json.loads(line) for line in ran.stdout.splitlines()[1:]]
    if len(answers) != len(golden.asked):
        raise _Rejected(f"worker_{part} answered {len(answers)} of {len(golden.asked)} golden rows")
    errors = [answer["error"] for answer in answers if "error" in answer]
    if errors:
        raise _Rejected(
            f"worker_{part} fails on {len(errors)} of {len(answers)} golden rows: {errors[0]}"
        )
    return answers


def run_clean(command: list[str], sources: Path, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the workers' code alone, without this process's environment."""
    # Only the variables that Python itself needs: no settings, no other packages.
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=sources,
            env=clean | {"PYTHONPATH": str(sources), "PYTHONUTF8": "1"},
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise _Rejected(f"The worker's Python did not finish: {error}") from error


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
    # `not <=` instead of `>`, so that NaN is an objection too.
    if not found.largest <= allowed.probability:
        objections.append(
            f"A probability of the {part} model differs by {found.largest:.4f} from that of the "
            f"fitted model; {allowed.probability:g} is allowed ({found.rows} golden rows)"
        )
    if found.same_top < allowed.top:
        objections.append(
            f"The {part} model gives {found.same_top:.1%} of {found.rows} golden rows the category "
            f"of the fitted model; {allowed.top:.0%} are expected"
        )
    return objections


def _last_line(output: str | None) -> str:
    lines = [line.strip() for line in (output or "").splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
