"""Board of the text models alone: students beside their teacher, and each combination.

    make texts DATA=folder WEIGHTS=folder WORK=var/training
    make texts DATA=folder CANDIDATES="text_ngrams text_rnn"

Runs the text stage of a training (`trainer.pipeline.text.stage`) and prints its board: weighted F1
with 95 % intervals, paired differences to the chosen model, milliseconds of a text, texts per
second, MB, and seconds of the fit. Finished steps are kept in WORK, where `make train` reuses them
and from where an interrupted run continues; two cores need an hour for the fine-tuning of an
encoder on 20,000 texts.
"""

import argparse
from pathlib import Path

from tests.bench.commands import run_command
from tests.bench.printed import Printed
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.leaderboard import as_markdown, marked
from trainer.pipeline.lineup import candidates_of, require_candidates
from trainer.pipeline.steps import Steps
from trainer.pipeline.text.stage import run_text_stage


def main() -> int:
    """Print the board."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/rakuten"))
    parser.add_argument("--weights", type=Path, help="folder of pretrained weights")
    parser.add_argument("--work", type=Path, default=Path("var/training"))
    parser.add_argument(
        "--candidates", nargs="*", default=(), help="text models to try, such as text_ngrams"
    )
    options = parser.parse_args()
    require_candidates(options.candidates, None)
    settings = TrainingSettings(
        work=options.work, weights=options.weights, candidates=tuple(options.candidates)
    ).absolute()
    settings.work.mkdir(parents=True, exist_ok=True)
    steps = Steps(settings.work, total=0)
    context = TrainingContext(settings, load(options.data), steps, Printed())
    lineup = candidates_of(context)
    models, untried = run_text_stage(context, lineup.text, lineup.students)
    chosen = models[0].entry if models else None
    print(as_markdown([*marked([model.entry for model in models], chosen), *untried]))
    print()
    print(steps.table())
    return 0


if __name__ == "__main__":
    run_command(main)
