"""Acceptance test of a release folder, in the environments where it will run.

In an environment with only a worker's packages and no network, the worker's own code loads the
release and scores golden rows: products with the probabilities that the fitted models computed
before the export. A release passes if every answer agrees and is fast enough.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidInput
from shared.inference.manifest import ReleaseManifest
from trainer.installer import IndexUnreachable
from trainer.release.environments import environment, run_clean, sources_in
from trainer.release.golden import Golden, GoldenRows, Tolerance
from trainer.release.response_times import undisturbed

Floats = NDArray[np.float32]

#: Packages that a worker's environment must not contain.
FOREIGN = ("tensorflow", "keras", "sklearn", "trainer")
#: Exit code of a training whose release does not pass the test.
NOT_PASSED = 3
#: Most measurements of the latency, each of all golden rows: the best of each row counts.
ROUNDS = 3


@dataclass(frozen=True)
class Budget:
    """Latency limits of a single product in milliseconds, at the 95th percentile."""

    text_ms: float = 100.0
    image_ms: float = 500.0
    fusion_ms: float = 20.0


@dataclass(frozen=True)
class Latency:
    """Latency of a single product, in milliseconds.

    Attributes:
        p50_ms: Median without the load of other programs; see `undisturbed`.
        p95_ms: 95th percentile without it, which the budget limits.
        wall_p95_ms: 95th percentile as it passed on this machine.
    """

    p50_ms: float
    p95_ms: float
    wall_p95_ms: float = 0.0


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


def test_package(
    folder: Path, golden: Golden, budget: Budget, work: Path, *, is_offline: bool
) -> PackageVerdict:
    """Test a release folder; a fault of the release or the machine becomes a reason, not an error.

    Args:
        folder: Release folder.
        golden: At least one row for each model of the release.
        budget: Latency limits.
        work: Folder of the environments; only the first test with some requirements installs.
        is_offline: Install nothing: run the workers' code with this Python, from which the
            packages of the trainer are hidden.
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
            place = _Place(part, folder, work, is_offline)
            _test_part(place, rows, getattr(budget, f"{part}_ms"), verdict)
        except _Rejected as rejected:
            verdict.reasons.append(str(rejected))
        except OSError as error:
            verdict.reasons.append(f"The test of the {part} model failed: {error}")
    return verdict


@dataclass(frozen=True)
class _Place:
    """Where the code of a worker scores a release."""

    part: str
    folder: Path
    work: Path
    is_offline: bool

    def python(self) -> Path:
        """Return the Python of the worker's environment. Raises `_Rejected` without one."""
        if self.is_offline:
            return Path(sys.executable)
        try:
            return environment(f"worker_{self.part}", self.work / "environments")
        except IndexUnreachable as error:
            raise _Rejected(
                f"The package index cannot be reached, from which the environment of "
                f"worker_{self.part} is installed: {error.detail}. Allow the connection, or test "
                "in the environment of the trainer: --offline, RAYON_TRAINER_OFFLINE=true"
            ) from error
        except (InvalidInput, OSError) as error:
            raise _Rejected(
                f"The environment of worker_{self.part} cannot be created: {error}"
            ) from error

    def ask(self, golden: GoldenRows) -> list[dict[str, Any]]:
        """Score golden rows with the worker's code. Raises `_Rejected` if it cannot."""
        python = self.python()
        with sources_in(self.work, FOREIGN if self.is_offline else ()) as sources:
            if not self.is_offline:
                _refuse_foreign(self.part, python, sources)
            return _ask(self.part, python, sources, self.folder, golden)


def _test_part(
    place: _Place, golden: GoldenRows | None, budget_ms: float, verdict: PackageVerdict
) -> None:
    part = place.part
    if golden is None or not golden.asked:
        raise _Rejected(f"Expected golden rows for the {part} model. Received: none")
    answers, latency = _timed(place, golden, budget_ms)
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


def _timed(
    place: _Place, golden: GoldenRows, budget_ms: float
) -> tuple[list[dict[str, Any]], Latency]:
    """Return the answers, and the latency without the load of other programs.

    A measurement above the budget is repeated, because a load also empties the caches.
    """
    best = np.full(len(golden.asked), np.inf)
    for _ in range(ROUNDS):
        answers = place.ask(golden)
        wall, cpu = (
            np.array([answer[name] for answer in answers])
            for name in ("milliseconds", "cpu_milliseconds")
        )
        best = np.minimum(best, undisturbed(wall, cpu))
        p50, p95 = np.percentile(best, (50, 95))
        if p95 <= budget_ms:
            break
    return answers, Latency(float(p50), float(p95), float(np.percentile(wall, 95)))


def _refuse_foreign(part: str, python: Path, sources: Path) -> None:
    code = (
        "import importlib.util, sys; "
        "print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name)))"
    )
    ran = _run([str(python), "-c", code, *FOREIGN], sources, "")
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
    ran = _run(command, sources, lines)
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


def _run(command: list[str], sources: Path, stdin: str) -> subprocess.CompletedProcess[str]:
    try:
        return run_clean(command, sources, stdin)
    except OSError as error:
        raise _Rejected(str(error)) from error


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
