"""Compare transformers for texts in 8-bit integers with floats: speed, answers and F1, in one run.

    make eightbits ONLY=texts DATA=../shared/data/rakuten WEIGHTS=../shared/weights TEXTS=4000

Test rows of DATA are scored by the transformer of the starter release, by its pool and its cascade
with n-grams, once as they ship and once with the products in floats; the weights are of 8 bits in
both. Their scores and CPU times are of one run in which the pool answers every text. If WEIGHTS has
an encoder, a transformer is also fine-tuned on some rows for one epoch, and exported in 8 bits and
in float32 as in a training, weights included; the fit is kept. The paired difference of F1 has its
95 % interval. CPU time is that of a text in batches of 8, on one thread.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.metrics import f1_score

from shared.inference.onnx_session import open_session
from shared.inference.preparation.text import TextInputs
from tests.bench.arguments import dataset_parser
from tests.bench.commands import run_command
from tests.bench.printed import Printed
from tests.bench.quality.combining.scores import asked_for_all
from tests.bench.starter import STARTER
from trainer.candidates.calibration import fit_temperature
from trainer.candidates.onnx.graph import Storage
from trainer.candidates.text.transformer import FITTED, TextTransformer, TransformerSettings
from trainer.datasets.loading import load
from trainer.pipeline.context import TrainingContext, TrainingSettings
from trainer.pipeline.export import export_text
from trainer.pipeline.fitting import Part
from trainer.pipeline.steps import Steps
from trainer.pipeline.text.pools import cascaded
from trainer.pipeline.text.stage import prepared_texts
from trainer.release.evaluation import official_weights
from trainer.release.intervals import f1_difference
from trainer.release.loaded import LoadedRelease

Floats = NDArray[np.float32]

BATCH = 8
OUTPUT = "probabilities"


@dataclass(frozen=True)
class Scored:
    """Probabilities of the test rows by the name of the model, milliseconds of CPU, and size."""

    answers: Mapping[str, Floats]
    milliseconds: float
    megabytes: float


def main() -> int:
    """Score, compare and print."""
    parser = dataset_parser(__doc__)
    parser.add_argument("--weights", type=Path, help="folder of pretrained weights")
    parser.add_argument("--keep", type=Path, required=True, help="folder of the fit")
    parser.add_argument(
        "--texts", type=int, default=4000, help="rows to fine-tune on (default: %(default)s)"
    )
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    settings = TrainingSettings(work=options.keep, weights=options.weights).absolute()
    steps = Steps(settings.work, total=0)
    context = TrainingContext(settings, load(options.data), steps, Printed())
    texts = prepared_texts(context.data.part("test", text=True))
    print(
        f"{len(texts)} test rows\n\n"
        "| model | F1 in 8 bits | in floats | difference (95 %) | official | same category "
        "| largest difference | 99th percentile | ms in 8 bits | in floats | MB in 8 bits "
        "| in floats |\n|---|" + "---:|" * 11
    )
    _print(context, *_starter(texts))
    candidate = TextTransformer(TransformerSettings(epochs=1))
    reason = candidate.unavailable_reason(context.fit)
    if reason:
        print(f"\nno fit: {reason}")
        return 0
    _print(context, *_fitted(context, candidate, texts, options))
    return 0


def _starter(texts: Sequence[str]) -> tuple[Scored, Scored]:
    """Return the scores of the starter release as it ships, and with products in floats."""
    part = LoadedRelease.load(STARTER).manifest.text
    if part is None:
        raise ValueError("Expected a starter release with a text model. Received: one without")
    inputs = TextInputs.load(STARTER / "text", part)
    model = onnx.load(STARTER / "text/model.onnx")
    names = asked_for_all(model)

    def scored(form: onnx.ModelProto) -> Scored:
        with TemporaryDirectory() as folder:
            onnx.save(form, Path(folder) / "model.onnx")
            found, milliseconds = _scores(Path(folder) / "model.onnx", inputs, texts, names)
        # The n-grams come first, as the model that a cascade asks first.
        alone, transformer = np.exp(found[:2])
        answers = {
            "starter release, transformer": transformer,
            "starter release, pool": found[-1],
            "starter release, cascade": cascaded(alone, found[-1]),
        }
        return Scored(answers, milliseconds, form.ByteSize() / 1e6)

    as_shipped = scored(model)
    return as_shipped, scored(in_floats(model))


def in_floats(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a text model whose products are of floats, with the same 8-bit weights.

    `Graph.integer_dense` divides each row by its scale, rounds it and shifts it. The product reads
    the row before it is rounded; the scales are multiplied afterwards as before.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    _put_in_floats(found.graph)
    return found


def _put_in_floats(graph: onnx.GraphProto) -> None:
    makers = {name: node for node in graph.node for name in node.output}
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            # The branch of a cascade
            if attribute.HasField("g"):
                _put_in_floats(attribute.g)
        if node.op_type == "MatMulInteger":
            integers, weight, _ = node.input
            rounded = makers[makers[integers].input[0]]
            divided = makers[rounded.input[0]].input[0]
            kernel = f"{node.output[0]}_kernel"
            nodes.append(helper.make_node("Cast", [weight], [kernel], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("MatMul", [divided, kernel], [*node.output]))
        else:
            nodes.append(node)
    graph.ClearField("node")
    graph.node.extend(nodes)


def _fitted(
    context: TrainingContext,
    candidate: TextTransformer,
    texts: Sequence[str],
    options: argparse.Namespace,
) -> tuple[Scored, Scored]:
    """Return the scores of a transformer that is fine-tuned on some rows, in both forms."""
    rows = context.data.part("train", "weak", text=True)
    rows = rows.sample(min(options.texts, len(rows)), random_state=0)
    folder = options.keep / f"transformer-{len(rows)}"
    prepared = options.keep / f"{folder.name}-prepared"
    for one in (folder, prepared):
        one.mkdir(exist_ok=True)
    if not (folder / FITTED).exists():
        chosen = prepared_texts(rows)
        candidate.prepare(chosen, prepared, context.fit)
        candidate.fit(chosen, context.labels(rows), folder, prepared, context.fit)
    held = context.data.part("validation", text=True)
    logits = candidate.predict(prepared_texts(held), folder)
    part = Part(candidate, folder, fit_temperature(logits, context.data.targets(held)))
    name = f"fitted on {len(rows)} texts, one epoch"
    return _exported(part, "int8", name, texts), _exported(part, "float32", name, texts)


def _exported(part: Part, storage: Storage, name: str, texts: Sequence[str]) -> Scored:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inputs = TextInputs.load(folder, export_text((part,), folder, storage))
        path = folder / "model.onnx"
        found, milliseconds = _scores(path, inputs, texts, [OUTPUT])
        return Scored({name: found[0]}, milliseconds, path.stat().st_size / 1e6)


def _scores(
    path: Path, inputs: TextInputs, texts: Sequence[str], outputs: Sequence[str]
) -> tuple[Floats, float]:
    """Return the outputs `(outputs, texts, classes)`, and milliseconds of CPU for a text."""
    session = open_session(path, threads=1)
    order = np.argsort([len(text) for text in texts], kind="stable")
    found, used = [], 0.0
    for start in range(0, len(texts), BATCH):
        read = inputs.of([texts[place] for place in order[start : start + BATCH]])
        started = time.process_time()
        found.append(session.run([*outputs], read))
        used += time.process_time() - started
    scores = np.empty((len(outputs), len(texts), found[0][-1].shape[1]), np.float32)
    scores[:, order] = np.concatenate([np.stack(one) for one in found], axis=1)
    return scores, used / len(texts) * 1000


def _print(context: TrainingContext, eight: Scored, floats: Scored) -> None:
    rows = context.data.part("test", text=True)
    targets = context.data.targets(rows)
    weights = official_weights(rows["code"].to_numpy(), context.data.official_share)

    def f1(answers: Floats, shares: Floats | None) -> float:
        found = answers.argmax(axis=1)
        return float(
            f1_score(targets, found, average="weighted", sample_weight=shares, zero_division=0)
        )

    for name, answers in eight.answers.items():
        others = floats.answers[name]
        difference = f1_difference(
            targets, *(one.argmax(axis=1)[None] for one in (answers, others))
        )
        is_same = answers.argmax(axis=1) == others.argmax(axis=1)
        largest = np.abs(answers - others).max(axis=1)
        cells = [
            f"{f1(answers, None):.4f}",
            f"{f1(others, None):.4f}",
            difference.text(signed=True),
            f"{f1(answers, weights) - f1(others, weights):+.4f}",
            f"{is_same.mean():.1%}",
            f"{largest.max():.3f}",
            f"{np.quantile(largest, 0.99):.3f}",
            *(f"{one.milliseconds:.1f}" for one in (eight, floats)),
            *(f"{one.megabytes:.1f}" for one in (eight, floats)),
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    run_command(main)
