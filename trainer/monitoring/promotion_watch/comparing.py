"""Scores products with both releases of a promotion, in a child process at low priority."""

import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.inference.releases.access import ChampionWriter, ReleaseReader
from trainer.monitoring.promotion_watch.measures import Pair, known_to_both
from trainer.monitoring.promotion_watch.observations import Answer
from trainer.monitoring.promotion_watch.replies import Reply, read_replies, write_products
from trainer.runs.child_process import CommandRunner
from trainer.runs.limits import Limits
from trainer.settings import TrainerSettings

COMMAND = (sys.executable, "-m", "trainer.monitoring.promotion_watch.rescoring")
#: Longest time of one scoring; that of 100 images without stored features is half a minute.
LONGEST_SECONDS = 900.0


class WatchedReleases(ChampionWriter, ReleaseReader, Protocol):
    """Parts of the registry that a watch uses."""


class Comparer(Protocol):
    """Scoring of the same products by both releases."""

    def pairs(
        self, before: str, new: str, answered_before: Sequence[Answer], answered: Sequence[Answer]
    ) -> list[Pair]:
        """Return the replies of both, first for those that the release before answered."""


class ScoringFailed(Exception):
    """Raised when a release could not score the products."""


@dataclass(frozen=True)
class Comparing:
    """Scores products with the release that did not answer them.

    Attributes:
        registry: Registry of the releases.
        trainer: Work folder and limits of child processes.
        most_images: Most images of one scoring.
        stopping: Once set, a running scoring ends.
        command: Program that scores.
    """

    registry: ReleaseReader
    trainer: TrainerSettings
    most_images: int
    stopping: threading.Event
    command: Sequence[str] = COMMAND

    def pairs(
        self, before: str, new: str, answered_before: Sequence[Answer], answered: Sequence[Answer]
    ) -> list[Pair]:
        """Return the replies of both releases, without categories that only one of them has.

        They have the order of the answers, first those of the release before.

        Args:
            before: Version of the release before.
            new: Version of the promoted release, the other one.
            answered_before: Answers of the release before.
            answered: Answers of the promoted release.

        Raises:
            ScoringFailed: A release cannot score; the last line of its log is the reason.
            NotFound: The registry has no such release.
            Unavailable: The registry does not answer, or the files of a release are broken.
        """
        manifests = {"before": self.registry.manifest(before), "new": self.registry.manifest(new)}
        codes = {name: frozenset(one.category_set.codes) for name, one in manifests.items()}
        by_new = self._replies(new, answered_before)
        by_before = self._replies(before, answered)
        pairs = [
            Pair(answer.replies, by_new.get(answer.product.id, {}), answer.label)
            for answer in answered_before
        ] + [
            Pair(by_before.get(answer.product.id, {}), answer.replies, answer.label)
            for answer in answered
        ]
        return [known_to_both(pair, codes) for pair in pairs]

    def _replies(self, version: str, answers: Sequence[Answer]) -> Mapping[str, dict[str, Reply]]:
        if not answers:
            return {}
        limits = Limits(
            self.trainer.niceness,
            self.trainer.is_background,
            self.trainer.threads,
            self.trainer.memory_megabytes * 2**20,
        )
        runner = CommandRunner(
            self.trainer.work_folder / "watching", self.trainer.stop_grace_seconds, limits
        )
        deadline = time.monotonic() + LONGEST_SECONDS

        def check() -> None:
            if self.stopping.is_set() or time.monotonic() > deadline:
                raise ScoringFailed("The scoring was stopped or exceeded the time limit")

        with tempfile.TemporaryDirectory() as temporary:
            products, out = Path(temporary, "products.json"), Path(temporary, "replies.json")
            # Labelled answers may be among the first ones.
            unique = {answer.product.id: answer.product for answer in answers}
            write_products(products, list(unique.values()))
            command = [*self.command, str(self.registry.folder(version)), str(products)]
            command += ["--out", str(out), "--images", str(self.most_images)]
            code = runner.run(command, runner.folder / "scoring.log", check)
            if code:
                last_line = runner.tail[-1] if runner.tail else ""
                raise ScoringFailed(
                    f"Expected exit code 0 of release {version}. Received: {code}, {last_line}"
                )
            return read_replies(out)
