"""Time and memory of fine-tuning the transformer on as many texts as the whole challenge has.

    make finetuning DATA=folder WEIGHTS=folder MINUTES=10

The texts are those of DATA, repeated with a number, in the challenge's layout. The encoder in
WEIGHTS is prepared and fine-tuned as in a training, for some minutes of the first epoch. Batches
come in random order, so those that were run are a sample of the epoch, from which its time is
computed. Steps that compile are run before, one for each length of a batch. The machine's load
slows wall time, and CPU time hardly.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import keras
import tensorflow as tf

from shared.errors import InvalidInput
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.load.datasets import ROWS, enlarge_texts
from tests.bench.load.memory import peak_megabytes, resident_megabytes
from tests.bench.printed import Printed
from trainer.candidates.devices import TILES, computes_bfloat16
from trainer.candidates.protocols import FitContext
from trainer.candidates.text.subwords import tokens_of
from trainer.candidates.text.transformer import (
    Batches,
    TextTransformer,
    compiled_network,
)
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.steps import Steps
from trainer.pipeline.text.stage import prepared_texts

MINUTES = 10.0
#: Shares of the steps run after which memory is shown.
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
CANDIDATE = TextTransformer()


@dataclass(frozen=True)
class Moment:
    """The process after a step; times in seconds since the first one, memory in MB."""

    texts: int
    wall: float
    cpu: float
    resident: float
    peak: float


def main() -> int:
    """Fine-tune for some minutes and print the figures."""
    parser = dataset_parser(__doc__)
    parser.add_argument(
        "--weights", type=Path, required=True, help="folder of pretrained weights, with an encoder"
    )
    parser.add_argument(
        "--rows", type=int, default=ROWS, help="rows of the large dataset (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="of fine-tuning (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        network, batches = _prepared(options, Path(temporary))
        print(f"{len(batches.tokens)} texts, {len(batches)} steps of {batches.size} an epoch")
        print(f"{options.threads} threads, {'bfloat16' if computes_bfloat16(TILES) else 'float32'}")
        moments = _run(network, batches, options.minutes * 60)
    _print(moments, len(batches), len(batches.tokens))
    return 0


def _prepared(options: argparse.Namespace, folder: Path) -> tuple[keras.Model, Batches]:
    """Return the network, ready to be fitted, and all texts in batches."""
    large, prepared = folder / "data", folder / "prepared"
    large.mkdir()
    prepared.mkdir()
    enlarge_texts(options.data, large, options.rows)
    settings = TrainingSettings(work=folder, weights=options.weights).absolute()
    context = TrainingContext(settings, load(large), Steps(folder, total=0), Printed())
    _require_encoder(context.fit)
    rows = context.data.rows
    texts = prepared_texts(rows)
    CANDIDATE.prepare(texts, prepared, context.fit)
    tokens = tokens_of(texts, prepared, CANDIDATE.settings.max_tokens)
    batches = Batches(tokens, context.labels(rows), CANDIDATE.settings.batch, settings.seed)
    keras.utils.set_random_seed(settings.seed)
    return compiled_network(prepared, batches, CANDIDATE.settings), batches


def _require_encoder(context: FitContext) -> None:
    reason = CANDIDATE.unavailable_reason(context)
    if reason is not None:
        raise InvalidInput(f"{reason}. `make weights TO={context.weights}` fetches one")


def _run(network: keras.Model, batches: Batches, seconds: float) -> list[Moment]:
    """Fine-tune for some seconds; return the process before the first step and after each."""
    lengths = {tokens.shape[1]: (tokens, *rest) for tokens, *rest in batches.of(0)}
    for batch in lengths.values():
        network.train_on_batch(*batch)
    started, used, texts = time.perf_counter(), time.process_time(), 0

    def now() -> Moment:
        return Moment(
            texts,
            time.perf_counter() - started,
            time.process_time() - used,
            resident_megabytes(),
            peak_megabytes(),
        )

    moments = [now()]
    for batch in takewhile(lambda _: moments[-1].wall < seconds, batches.of(0)):
        network.train_on_batch(*batch)
        texts += len(batch[0])
        moments.append(now())
    return moments


def _print(moments: list[Moment], steps: int, texts: int) -> None:
    """Print memory after shares of the steps run, the rate, and the computed time of an epoch."""
    print("\n| steps run | texts | minutes | CPU minutes | resident MB | peak MB |")
    print("|---:|---:|---:|---:|---:|---:|")
    run = len(moments) - 1
    for number in [0, *(max(1, round(share * run)) for share in SHARES)]:
        one = moments[number]
        print(
            f"| {number} ({number / run:.0%}) | {one.texts} | {one.wall / 60:.1f} "
            f"| {one.cpu / 60:.1f} | {one.resident:.0f} | {one.peak:.0f} |"
        )
    last = moments[-1]
    share = texts / last.texts
    print(
        f"\n{last.texts / last.wall:.1f} texts/s, {last.texts / last.cpu:.1f} per CPU second\n"
        f"an epoch of {texts} texts, computed from {run} of {steps} steps: "
        f"{last.wall * share / 3600:.2f} hours, {last.cpu * share / 3600:.2f} hours of CPU"
    )


if __name__ == "__main__":
    run_command(main)
