"""A pretrained encoder is cut down, fine-tuned, exported and served."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from shared.errors import InvalidInput
from shared.inference.preparation.text import PADDING, UNKNOWN
from tests.model.test_text_candidates import CONTEXT, WORDS, products, served
from tests.support.tiny_encoder import UNUSED, write_encoder
from trainer.candidates.calibration import softmax
from trainer.candidates.protocols import FitContext
from trainer.candidates.text import transformer
from trainer.candidates.text.encoders import cut_down, find_encoder, identity
from trainer.candidates.text.rnn import RnnSettings, TextRnn
from trainer.candidates.text.transformer import TextTransformer, TransformerSettings
from trainer.pipeline.fitting import Part

SETTINGS = TransformerSettings(
    max_tokens=16, epochs=15, batch=16, learning_rate=2e-3, head_rate=2e-2, label_smoothing=0.0
)
VOCABULARY = " ".join(WORDS).split()
KINDS = ("bert", "xlm-roberta")


@pytest.fixture(scope="module", autouse=True)
def full_precision() -> Iterator[None]:
    """Compute in float32, as processors without matrices of bfloat16 do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformer, "computes_bfloat16", lambda *_: False)
        yield


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FitContext]:
    """A folder of weights with an encoder of each kind."""
    found = {}
    for kind in KINDS:
        weights = tmp_path_factory.mktemp(kind)
        write_encoder(weights / "tiny", VOCABULARY, kind)
        found[kind] = replace(CONTEXT, weights=weights)
    return found


@pytest.fixture(scope="module")
def fitted(
    contexts: dict[str, FitContext], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Part]:
    texts, labels = products(160)
    found = {}
    for kind, context in contexts.items():
        candidate = TextTransformer(SETTINGS)
        prepared, folder = (tmp_path_factory.mktemp(f"{kind}-{name}") for name in ("cut", "fit"))
        candidate.prepare(texts, prepared, context)
        candidate.fit(texts, labels, folder, prepared, context)
        found[kind] = Part(candidate, folder, temperature=1.3)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_is_cut_down_to_the_pieces_of_the_texts(
    kind: str, contexts: dict[str, FitContext], tmp_path: Path
) -> None:
    encoder = find_encoder(contexts[kind].weights)
    assert encoder is not None
    texts = products(160)[0]
    cut_down(encoder, texts, tmp_path)
    before, after = (
        Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (encoder, tmp_path)
    )
    for text in texts:
        assert after.encode(text).tokens == before.encode(text).tokens
    assert not set(UNUSED) & set(after.get_vocab())
    assert after.encode("\N{SNOWMAN}").ids[1:-1].count(UNKNOWN) == 1
    assert after.id_to_token(PADDING) in ("[PAD]", "<pad>")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["vocab_size"] == after.get_vocab_size()


@pytest.mark.parametrize("kind", KINDS)
def test_transformer_learns(kind: str, fitted: dict[str, Part]) -> None:
    texts, labels = products(90)
    part = fitted[kind]
    predicted = part.candidate.predict(texts, part.folder).argmax(axis=1)
    assert (predicted == labels.targets).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-5), ("int8", 0.1)])
def test_served_answers_are_the_fitted_ones(
    kind: str, storage: str, tolerance: float, fitted: dict[str, Part], tmp_path: Path
) -> None:
    texts = [*products(9)[0], "", "???", "motinconnu " * 200]
    part = fitted[kind]
    expected = softmax(part.candidate.predict(texts, part.folder) / part.temperature)
    found = served((part,), tmp_path, storage, texts)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert np.ptp(found, axis=0).max() > 0.05


def test_products_of_the_served_encoder_are_of_integers(
    fitted: dict[str, Part], tmp_path: Path
) -> None:
    served((fitted["bert"],), tmp_path, "int8", ["piscine"])
    operations = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    # Per layer: queries, keys and values together, the output of the attention, and two more.
    assert operations.count("MatMulInteger") == 2 * 4


def test_transformer_is_pooled_with_a_model_of_other_subwords(
    fitted: dict[str, Part], tmp_path: Path
) -> None:
    texts, labels = products(60)
    network = TextRnn(RnnSettings(embedding=8, units=4, attention=4, epochs=1, members=1))
    network.prepare(texts, tmp_path, CONTEXT)
    network.fit(texts, labels, tmp_path, tmp_path, CONTEXT)
    parts = (
        replace(fitted["bert"], weight=(0.5, 0.2, 0.9), bias=(0.3, 0.0, -0.1)),
        Part(network, tmp_path, weight=0.4),
    )
    logits = np.zeros((len(texts), len(WORDS)), np.float32)
    for part in parts:
        found = softmax(part.candidate.predict(texts, part.folder) / part.temperature)
        logits += np.log(found) * np.array(part.weight, np.float32)
    logits += np.array(parts[0].bias, np.float32)
    (tmp_path / "served").mkdir()
    answers = served(parts, tmp_path / "served", "float32", texts)
    np.testing.assert_allclose(answers, softmax(logits), atol=1e-3)


def test_interrupted_fit_continues_with_the_next_epoch(
    contexts: dict[str, FitContext], tmp_path: Path
) -> None:
    texts, labels = products(48)
    candidate = TextTransformer(replace(SETTINGS, epochs=3))
    prepared, stopped_in, whole_in = (tmp_path / name for name in ("cut", "stopped", "whole"))
    for folder in (prepared, stopped_in, whole_in):
        folder.mkdir()
    context = contexts["bert"]
    candidate.prepare(texts, prepared, context)

    def stop_in_the_second(line: str) -> None:
        if "epoch 2" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        candidate.fit(
            texts, labels, stopped_in, prepared, replace(context, log_line=stop_in_the_second)
        )
    lines: list[str] = []
    candidate.fit(texts, labels, stopped_in, prepared, replace(context, log_line=lines.append))
    assert [line.partition(":")[2].split(",")[0].strip() for line in lines] == [
        "epoch 2 of 3",
        "epoch 3 of 3",
    ]
    assert not list(stopped_in.glob("epoch_*"))
    # And it is the model of a fit without an interruption
    candidate.fit(texts, labels, whole_in, prepared, context)
    np.testing.assert_allclose(
        candidate.predict(texts, stopped_in), candidate.predict(texts, whole_in), atol=1e-4
    )


def test_without_an_encoder_the_candidate_says_so(tmp_path: Path) -> None:
    context = replace(CONTEXT, weights=tmp_path)
    (tmp_path / "notes").mkdir()
    reason = TextTransformer().unavailable_reason(context)
    assert reason is not None
    assert "Expected a folder of an encoder" in reason


def test_another_encoder_has_another_identity(tmp_path: Path) -> None:
    names = []
    for words in (VOCABULARY, VOCABULARY[:5]):
        folder = tmp_path / str(len(words)) / "tiny"
        write_encoder(folder, words)
        names.append(identity(folder))
    assert names[0] != names[1]


def test_encoder_without_a_tokenizer_is_refused(
    contexts: dict[str, FitContext], tmp_path: Path
) -> None:
    write_encoder(tmp_path / "broken", VOCABULARY)
    (tmp_path / "broken" / "tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match=r"Missing: tokenizer\.json"):
        cut_down(tmp_path / "broken", ["piscine"], tmp_path)


def test_configuration_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("<html>")
    with pytest.raises(InvalidInput, match=r"Expected JSON in .*broken/config\.json"):
        find_encoder(tmp_path)
