"""Image networks and stages of fine-tuning, as commands name them."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from shared.errors import InvalidInput
from tests.bench.arguments import dataset_parser
from trainer.candidates.image.finetuning import FINE_TUNED, FineTuned
from trainer.candidates.image.stages import Stage
from trainer.candidates.protocols import FitContext

NETWORKS = {one.frozen.name.removeprefix("image_"): one for one in FINE_TUNED}


def network_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for a benchmark that fine-tunes an image network."""
    parser = dataset_parser(doc)
    parser.add_argument("--weights", type=Path, required=True, help="folder of ImageNet weights")
    parser.add_argument("--network", choices=NETWORKS, default="xception")
    parser.add_argument("--stages", type=stage, nargs="*", help="such as 96:2:.5 128:1:1")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    return parser


def stage(text: str) -> Stage:
    """Read a stage: pixels, epochs and the share of the layers that learn, such as `128:2:.5`.

    Raises:
        argparse.ArgumentTypeError: The text is none.
    """
    try:
        size, epochs, share = text.split(":")
        found = Stage(int(size), int(epochs), float(share))
    except ValueError:
        found = Stage(0, 0, 0.0)
    if found.size < 1 or found.epochs < 1 or not 0 <= found.share <= 1:
        raise argparse.ArgumentTypeError(
            "Expected pixels:epochs:share, each at least 1 and a share of the layers from 0 to 1. "
            f"Received: {text}"
        )
    return found


def candidate_of(options: argparse.Namespace) -> FineTuned:
    """Return the candidate that the options name."""
    candidate = NETWORKS[options.network]
    if not options.stages:
        return candidate
    settings = replace(candidate.settings, stages=tuple(options.stages))
    return replace(candidate, settings=settings)


def require_weights(candidate: FineTuned, context: FitContext) -> None:
    """Check that there are weights to start from. Raises `InvalidInput` otherwise."""
    if (reason := candidate.unavailable_reason(context)) is not None:
        raise InvalidInput(f"{reason}. `make weights TO={context.weights}` fetches some")
