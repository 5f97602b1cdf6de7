"""The network of the release that serves, under a head that is fitted anew.

What changed since it was trained is most often the mix of products and what their categories mean,
and not what can be seen in an image. So a new head is most of what a new training gives. It needs
no ImageNet weights, which a machine without a way to the internet has not; and the images that
this release has seen have their features already.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.image import IMAGE_PREPARATION
from trainer.candidates.image.head import BACKBONE, FrozenBackbone, HeadSettings
from trainer.candidates.protocols import Workshop


@dataclass(frozen=True)
class ChampionSettings(HeadSettings):
    """How the head is fitted, and on which network: the extractor's name holds its digest."""

    extractor: str = ""


@dataclass(frozen=True)
class ChampionBackbone(FrozenBackbone):
    """The backbone of a release; see `champion_backbone`."""

    name: str = "image_champion"
    size: int = 0
    weights_file: str = ""
    settings: ChampionSettings = field(default_factory=ChampionSettings)
    code: tuple[str, ...] = ("trainer.candidates.image.champion", "trainer.candidates.image.head")
    release: Path = Path()

    @property
    def network(self) -> str:
        """What the release calls it: so the features that are known stay known."""
        return self.settings.extractor.rpartition(f"-{IMAGE_PREPARATION}-")[0]

    def missing(self, workshop: Workshop) -> str | None:
        """Nothing: the release is there."""
        return None

    def place(self, path: Path, workshop: Workshop) -> None:
        """Copy the backbone, as it is."""
        aside = path.with_suffix(".new")
        shutil.copyfile(self.release / "image" / BACKBONE, aside)
        aside.replace(path)


def champion_backbone(release: Path | None) -> tuple[ChampionBackbone, ...]:
    """The candidate that a release gives: one, or none if its images go another way.

    Args:
        release: Folder of the release that serves, if there is one.
    """
    part = None if release is None else ReleaseManifest.read(release).image
    if release is None or part is None or part.extractor is None:
        return ()
    if part.preparation != IMAGE_PREPARATION or f"-{IMAGE_PREPARATION}-" not in part.extractor:
        return ()
    return (
        ChampionBackbone(
            size=part.size, settings=ChampionSettings(extractor=part.extractor), release=release
        ),
    )
