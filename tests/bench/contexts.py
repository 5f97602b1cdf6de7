"""Context of a training for commands that fit models and print."""

from pathlib import Path

from tests.bench.printed import Printed
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.steps import Steps


def training_context(data: Path, work: Path, weights: Path | None) -> TrainingContext:
    """Load a dataset, and create the folder of the steps.

    Args:
        data: Folder of the dataset.
        work: Folder of finished fits, from where an interrupted run continues.
        weights: Folder of pretrained weights.
    """
    settings = TrainingSettings(work=work, weights=weights).absolute()
    settings.work.mkdir(parents=True, exist_ok=True)
    return TrainingContext(settings, load(data), Steps(settings.work, total=0), Printed())
