"""The image network of the serving release, with a newly fitted head.

Since its training, most often the mix of products and the meaning of categories have changed, not
the visual content of images; so a new head gives most of the benefit of a new training. It needs no
ImageNet weights, which a machine without internet access cannot download, and images that the
release was trained on have their features already.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from shared.files import atomic_write
from shared.inference.manifest import ReleaseManifest
from shared.inference.preparation.image import IMAGE_PREPARATION
from trainer.candidates.image.backbone import BACKBONE
from trainer.candidates.image.head import FrozenBackbone, HeadSettings
from trainer.candidates.protocols import FitContext, Images


@dataclass(frozen=True)
class ChampionSettings(HeadSettings):
    """Settings of the head, and the extractor of the network; its name contains a digest."""

    extractor: str = ""


@dataclass(frozen=True)
class ChampionBackbone(FrozenBackbone):
    """The backbone of a release; see `champion_backbone`."""

    name: str = "image_champion"
    size: int = 0
    weights_file: str = ""
    settings: ChampionSettings = field(default_factory=ChampionSettings)
    release: Path = Path()

    @property
    def network(self) -> str:
        """Name of the network in the release, so that stored features are found again."""
        return self.settings.extractor.rpartition(f"-{IMAGE_PREPARATION}-")[0]

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return `None`: the release is available."""
        return None

    def place(self, path: Path, images: Images, context: FitContext) -> None:
        """Copy the backbone unchanged."""
        with atomic_write(path) as temporary:
            shutil.copyfile(self.release / "image" / BACKBONE, temporary)


def champion_backbone(release: Path | None) -> tuple[ChampionBackbone, ...]:
    """Return the candidate of a release: one, or none if its images are prepared differently.

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
