"""The n-grams of the starter release, fitted again on resamples of the training rows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import numpy_helper

from shared.errors import InvalidInput
from shared.inference.manifest import Ngrams, ReleaseManifest
from tests.bench.quality.watch.graphs import TEXT, Arrays, change, copy_starter
from tests.bench.starter import STARTER
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import Labels, Targets
from trainer.candidates.text.linear import Planes, fit_machine
from trainer.candidates.text.ngram_columns import Columns, smooth_idf
from trainer.candidates.text.ngrams import FILE, NgramSettings, TextNgrams


class Retraining:
    """Fits the n-grams that the starter release keeps on resamples of some rows.

    The n-grams stay, and so do the transformer and the calibration.

    Args:
        texts: Prepared texts of the training rows.
        targets: Column number of the category of each.

    Raises:
        InvalidInput: The starter release has no n-grams, or not as the trainer exports them.
    """

    def __init__(self, texts: Sequence[str], targets: Targets) -> None:
        manifest = ReleaseManifest.read(STARTER)
        if manifest.text is None or manifest.text.ngrams is None:
            raise InvalidInput(f"Expected a release with n-grams. Received: {STARTER}")
        self._settings = NgramSettings(form=manifest.text.ngrams)
        self._classes = len(manifest.categories)
        self._columns = kept_columns(manifest.text.ngrams)
        # Term frequencies: with an idf of 1, and the idf of each resample follows.
        ones = np.ones_like(self._columns.idf)
        self._frequencies = replace(self._columns, idf=ones).rows(texts)
        self._targets = targets

    def write(self, folder: Path, seed: int) -> None:
        """Write the starter release with the n-grams of a resample."""
        random = np.random.default_rng(seed)
        drawn = random.choice(len(self._targets), len(self._targets))
        rows = self._frequencies[drawn]
        occurrences = np.bincount(rows.indices, minlength=rows.shape[1])
        columns = replace(self._columns, idf=smooth_idf(occurrences, len(drawn)))
        rows.data *= columns.idf[rows.indices]
        labels = Labels(self._targets[drawn], np.ones(len(drawn), np.float32), self._classes)
        settings = self._settings
        planes = fit_machine(
            columns.normalised(rows), labels, settings.penalty, settings.iterations, seed
        )
        copy_starter(folder)
        replace_ngrams(folder / TEXT, columns, planes)


def kept_columns(form: Ngrams) -> Columns:
    """Return the n-grams that the starter release reads, with their idf.

    Raises:
        InvalidInput: The text model does not begin with n-grams as the trainer exports them.
    """
    model = onnx.load(str(STARTER / TEXT))
    stored = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    maps = [
        stored.get(node.input[0], np.empty(0))
        for kind in ("words", "characters")
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[1] == kind
    ]
    shapes = [one.shape for one in maps if np.issubdtype(one.dtype, np.integer)]
    if shapes[:2] != [(form.buckets,)] * 2:
        raise InvalidInput(
            f"Expected two maps of {form.buckets} hashes to n-grams in {STARTER / TEXT}. "
            f"Received: arrays of the shapes {[one.shape for one in maps]}"
        )
    slots = np.concatenate(maps[:2])
    numbers = np.flatnonzero(slots).astype(np.int64)
    # Row 0 stands for the n-grams that the model does not read.
    vectors = [one for one in stored.values() if one.shape == (len(numbers) + 1,)]
    if not np.array_equal(slots[numbers], np.arange(1, len(numbers) + 1)) or len(vectors) < 2:
        raise InvalidInput(
            f"Expected the rows of {len(numbers)} n-grams in ascending order, each with an idf and "
            f"a step, in {STARTER / TEXT}. Received: {len(vectors)} arrays of that length"
        )
    return Columns(form, numbers, vectors[0][1:].astype(np.float32))


def replace_ngrams(path: Path, columns: Columns, planes: Planes) -> None:
    """Replace the n-grams of a text model, as the trainer exports them.

    Raises:
        InvalidInput: The model does not begin with n-grams in the form of the trainer.
    """
    graph = Graph("int8")
    with TemporaryDirectory() as fitted:
        np.savez(
            Path(fitted) / FILE,
            numbers=columns.numbers,
            idf=columns.idf,
            planes=planes.weights,
            bias=planes.bias,
        )
        TextNgrams(NgramSettings(form=columns.form)).export(graph, Path(fitted))
    nodes = onnx.load(str(path)).graph.node[: len(graph.nodes)]
    for received, expected in zip(nodes, graph.nodes, strict=False):
        if received != expected:
            raise InvalidInput(
                "Expected a text model that begins with n-grams as the trainer exports them, "
                f"with `{_line(expected)}`. Received in {path}: `{_line(received)}`"
            )
    exported: Arrays = {one.name: numpy_helper.to_array(one) for one in graph.constants}
    change(path, lambda _: exported)


def _line(node: onnx.NodeProto) -> str:
    return f"{node.output[0]} = {node.op_type}({', '.join(node.input)})"
