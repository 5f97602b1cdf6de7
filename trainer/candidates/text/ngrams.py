"""Hashed word and character n-grams, weighted by tf-idf, with a linear classifier.

Wang and Manning, "Baselines and Bigrams" (2012), show why such a model is hard to beat on short
texts. It is fitted in seconds, and is the only candidate that reads every character. It is fitted
twice: once on all n-grams, then on those with the largest weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from onnx import TensorProto

from shared.inference.manifest import Ngrams
from trainer.candidates.onnx.graph import Graph, stored_small
from trainer.candidates.protocols import FitContext, Floats, Labels, SelfContained, TextReads
from trainer.candidates.text.linear import (
    Planes,
    SoftmaxSettings,
    fit_machine,
    fit_softmax,
    is_small,
)
from trainer.candidates.text.ngram_columns import Columns, survey

FILE = "ngrams.npz"
#: Number of texts that are scored at once.
AT_ONCE = 4096


@dataclass(frozen=True)
class NgramSettings:
    """Hyperparameters, chosen on validation rows.

    Attributes:
        form: How texts are cut into n-grams.
        penalty: Cost of a wrong side of a hyperplane, `C` of the support vector machine.
        iterations: Most passes of the support vector machine.
        softmax: Steps of the classifier for many categories and rows.
        columns: Number of n-grams in the model.
        weights: Most weights in memory while it is fitted, and in the model: with many categories
            it reads fewer n-grams.
    """

    form: Ngrams = field(default_factory=lambda: Ngrams(buckets=2**17, words=2, characters=(2, 5)))
    penalty: float = 0.5
    iterations: int = 300
    softmax: SoftmaxSettings = field(default_factory=SoftmaxSettings)
    columns: int = 30_000
    weights: int = 20_000_000


@dataclass(frozen=True)
class TextNgrams(SelfContained):
    """N-gram candidate; see the module."""

    settings: NgramSettings = field(default_factory=NgramSettings)
    name: str = "text_ngrams"
    refits: ClassVar[bool] = True

    def prepare(self, texts: Sequence[str], folder: Path, context: FitContext) -> None:
        """Do nothing: hashing needs no vocabulary."""

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        folder: Path,
        prepared: Path,
        context: FitContext,
    ) -> None:
        """Choose the n-grams and fit the separating hyperplanes."""
        settings = self.settings
        found = survey(texts, labels, settings.form)
        columns = found.columns(most=settings.weights // labels.classes)
        rows = columns.rows(texts, found.values(columns))
        context.log_line(f"{self.name}: {len(texts)} texts, {len(columns.numbers)} n-grams")
        planes = self._planes(rows, labels, context)
        if len(columns.numbers) > settings.columns:
            kept = _heaviest(rows, planes, settings.columns)
            columns = columns.take(kept)
            rows = columns.normalised(rows[:, kept])
            context.log_line(f"{self.name}: fitted again on {len(kept)} n-grams")
            planes = self._planes(rows, labels, context)
        np.savez(
            folder / FILE,
            numbers=columns.numbers,
            idf=columns.idf,
            planes=planes.weights,
            bias=planes.bias,
        )

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Return distances from the hyperplanes, shape `(len(texts), classes)`."""
        columns, planes = self._kept(folder)
        scored: Floats = np.empty((len(texts), len(planes.bias)), np.float32)
        for start in range(0, len(texts), AT_ONCE):
            rows = columns.rows(texts[start : start + AT_ONCE])
            scored[start : start + AT_ONCE] = rows @ planes.weights + planes.bias
        return scored

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the weighted sum of rows looked up in the table of hyperplanes."""
        columns, planes = self._kept(folder)
        # Column 0 stands for the n-grams that the model does not read.
        idf = graph.constant(np.concatenate([np.zeros(1, np.float32), columns.idf]))
        table = np.concatenate([np.zeros((1, len(planes.bias)), np.float32), planes.weights])
        slots, weights = [], []
        for ids, counts, numbers in zip(
            ("words", "characters"),
            ("word_counts", "character_counts"),
            np.split(columns.slots, 2),
            strict=True,
        ):
            slots.append(graph.add("Gather", graph.constant(numbers), ids))
            weights.append(_weights(graph, slots[-1], counts, idf))
        both = [graph.add("Concat", *parts, axis=1) for parts in (slots, weights)]
        summed = _weighted_sum(graph, both[0], both[1], table)
        return graph.add("Add", summed, graph.constant(planes.bias))

    def reads(self, folder: Path) -> TextReads:
        """Return the settings of both kinds of n-grams."""
        return TextReads(ngrams=self.settings.form)

    def _planes(self, rows: sparse.csr_matrix, labels: Labels, context: FitContext) -> Planes:
        settings = self.settings
        if is_small(rows, labels.classes):
            return fit_machine(rows, labels, settings.penalty, settings.iterations, context.seed)
        return fit_softmax(rows, labels, settings.softmax, context)

    def _kept(self, folder: Path) -> tuple[Columns, Planes]:
        with np.load(folder / FILE) as fitted:
            columns = Columns(self.settings.form, fitted["numbers"], fitted["idf"])
            return columns, Planes(fitted["planes"], fitted["bias"])


def _heaviest(rows: sparse.csr_matrix, planes: Planes, most: int) -> NDArray[np.int64]:
    """Return the columns that move the distances most, ascending."""
    sizes = np.sqrt(np.bincount(rows.indices, rows.data**2, rows.shape[1]))
    moved = sizes * np.abs(planes.weights).max(axis=1)
    return np.sort(np.argpartition(-moved, most)[:most])


def _weights(graph: Graph, slots: str, counts: str, idf: str) -> str:
    """Add sublinear tf times idf, each row of length 1, as in `Columns.rows`."""
    one = graph.constant(np.array(1.0, np.float32))
    axis = graph.constant(np.array([1], np.int64))
    # A padded position has count 0 and therefore weight 0.
    present = graph.add("Min", counts, one)
    sublinear = graph.add("Add", one, graph.add("Log", graph.add("Max", counts, one)))
    scaled = graph.add("Gather", idf, slots)
    weight = graph.add("Mul", present, graph.add("Mul", sublinear, scaled))
    length = graph.add(
        "Sqrt", graph.add("ReduceSum", graph.add("Mul", weight, weight), axis, keepdims=1)
    )
    tiny = graph.constant(np.array(1e-12, np.float32))
    return graph.add("Div", weight, graph.add("Max", length, tiny))


def _weighted_sum(graph: Graph, slots: str, weight: str, table: Floats) -> str:
    """Add the sum of the rows of a table at `slots`, each multiplied with its weight."""
    axis = graph.constant(np.array([1], np.int64))
    stored, scale = stored_small(table, (0,), graph.storage)
    rows = graph.add("Gather", graph.constant(stored), slots)
    if stored.dtype != np.float32:
        rows = graph.add("Cast", rows, to=TensorProto.FLOAT)
    if scale is not None:
        # The scale of each n-gram is multiplied into its weight: 27 times fewer products.
        row_scale = graph.add("Gather", graph.constant(scale.reshape(-1)), slots)
        weight = graph.add("Mul", weight, row_scale)
    summed = graph.add("MatMul", graph.add("Unsqueeze", weight, axis), rows)
    return graph.add("Squeeze", summed, axis)
