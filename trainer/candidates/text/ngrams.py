"""Hashed word and character n-grams, weighted by tf-idf, with a linear support vector machine.

Wang and Manning, "Baselines and Bigrams" (2012), show why such a model is hard to beat on short
texts. It is fitted in seconds, and is the only candidate that reads every character.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from onnx import TensorProto
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.svm import LinearSVC

from shared.inference.manifest import Ngrams
from shared.inference.preparation.ngrams import Ids, character_ids, counted, word_ids
from trainer.candidates.onnx.graph import Graph, stored_small
from trainer.candidates.protocols import FitContext, Floats, Labels, TextReads

FILE = "ngrams.npz"
#: Number of texts whose n-grams are counted at once.
CHUNK = 256


@dataclass(frozen=True)
class NgramSettings:
    """Hyperparameters, chosen on validation rows."""

    form: Ngrams = field(default_factory=lambda: Ngrams(buckets=2**17, words=2, characters=(2, 5)))
    penalty: float = 0.5
    iterations: int = 300


@dataclass(frozen=True)
class TextNgrams:
    """N-gram candidate; see the module."""

    settings: NgramSettings = field(default_factory=NgramSettings)
    name: str = "text_ngrams"

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
        """Fit the idf weights and the separating hyperplanes."""
        blocks = self._counts(texts)
        scales = [TfidfTransformer(sublinear_tf=True).fit(block) for block in blocks]
        inputs = [scale.transform(block) for scale, block in zip(scales, blocks, strict=True)]
        machine = LinearSVC(
            C=self.settings.penalty, max_iter=self.settings.iterations, random_state=context.seed
        )
        machine.fit(sparse.hstack(inputs).tocsr(), labels.targets, sample_weight=labels.weights)
        planes, bias = _planes(machine, labels.classes)
        context.log_line(
            f"{self.name}: {len(texts)} texts, {int((planes != 0).any(1).sum())} n-grams"
        )
        np.savez(
            folder / FILE,
            word_idf=scales[0].idf_.astype(np.float32),
            character_idf=scales[1].idf_.astype(np.float32),
            planes=planes,
            bias=bias,
        )

    def predict(self, texts: Sequence[str], folder: Path) -> Floats:
        """Return distances from the hyperplanes, shape `(len(texts), classes)`."""
        with np.load(folder / FILE) as fitted:
            idf = (fitted["word_idf"], fitted["character_idf"])
            planes, bias = fitted["planes"], fitted["bias"]
        inputs = [
            _weighted(block, block_idf)
            for block, block_idf in zip(self._counts(texts), idf, strict=True)
        ]
        distances: Floats = np.asarray(sparse.hstack(inputs).tocsr() @ planes + bias, np.float32)
        return distances

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the weighted sum of rows looked up in the tables of idf and hyperplanes."""
        with np.load(folder / FILE) as fitted:
            arrays = {name: fitted[name] for name in fitted.files}
        words, characters = np.split(arrays["planes"], 2)
        parts = [
            _block(graph, "words", "word_counts", arrays["word_idf"], words),
            _block(graph, "characters", "character_counts", arrays["character_idf"], characters),
        ]
        return graph.add("Add", graph.add("Add", *parts), graph.constant(arrays["bias"]))

    def reads(self, folder: Path) -> TextReads:
        """Return the settings of both kinds of n-grams."""
        return TextReads(ngrams=self.settings.form)

    def _counts(self, texts: Sequence[str]) -> list[sparse.csr_matrix]:
        return [self._block_counts(texts, ids_of) for ids_of in (word_ids, character_ids)]

    def _block_counts(
        self, texts: Sequence[str], ids_of: Callable[[str, Ngrams], Ids]
    ) -> sparse.csr_matrix:
        form = self.settings.form
        rows = []
        for start in range(0, len(texts), CHUNK):
            ids, counts = counted(texts[start : start + CHUNK], form, ids_of)
            present = counts > 0
            ends = np.concatenate([[0], present.sum(axis=1).cumsum()])
            rows.append(
                sparse.csr_matrix(
                    (counts[present], ids[present], ends), shape=(len(ids), form.buckets)
                )
            )
        return sparse.vstack(rows).tocsr()


def _planes(machine: LinearSVC, classes: int) -> tuple[Floats, Floats]:
    # Two classes share one hyperplane, with the second class on its positive side.
    planes, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        planes, bias = np.concatenate([-planes, planes]), np.concatenate([-bias, bias])
    # A class without a fitted row must never be predicted.
    all_planes = np.zeros((planes.shape[1], classes), np.float32)
    all_bias = np.full(classes, -10.0, np.float32)
    all_planes[:, machine.classes_] = planes.T
    all_bias[machine.classes_] = bias
    return all_planes, all_bias


def _weighted(counts: sparse.csr_matrix, idf: Floats) -> sparse.csr_matrix:
    """Sublinear tf times idf, each row of length 1 (Manning et al. 2008, section 6.4.1)."""
    weighted = counts.copy()
    weighted.data = (1 + np.log(weighted.data)) * idf[weighted.indices]
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return sparse.diags(1 / np.maximum(lengths, 1e-12)) @ weighted


def _block(graph: Graph, ids: str, counts: str, idf: Floats, planes: Floats) -> str:
    one = graph.constant(np.array(1.0, np.float32))
    axis = graph.constant(np.array([1], np.int64))
    present = graph.add("Min", counts, one)
    sublinear = graph.add("Add", one, graph.add("Log", graph.add("Max", counts, one)))
    # A padded position has count 0 and therefore weight 0.
    scaled = graph.add("Gather", graph.constant(idf), ids)
    weight = graph.add("Mul", present, graph.add("Mul", sublinear, scaled))
    length = graph.add(
        "Sqrt", graph.add("ReduceSum", graph.add("Mul", weight, weight), axis, keepdims=1)
    )
    tiny = graph.constant(np.array(1e-12, np.float32))
    weight = graph.add("Div", weight, graph.add("Max", length, tiny))
    stored, scale = stored_small(planes, (0,), graph.storage)
    rows = graph.add("Gather", graph.constant(stored), ids)
    if stored.dtype != np.float32:
        rows = graph.add("Cast", rows, to=TensorProto.FLOAT)
    if scale is not None:
        # The scale of each n-gram is multiplied into its weight: 27 times fewer products.
        row_scale = graph.add("Gather", graph.constant(scale.reshape(-1)), ids)
        weight = graph.add("Mul", weight, row_scale)
    summed = graph.add("MatMul", graph.add("Unsqueeze", weight, axis), rows)
    return graph.add("Squeeze", summed, axis)
