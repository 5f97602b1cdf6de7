"""The precision of a fit is that which the machine computes faster."""

from pathlib import Path

import pytest

from trainer.candidates import devices
from trainer.candidates.devices import TILES, VECTORS, computes_bfloat16


@pytest.mark.parametrize(
    ("flags", "asked", "expected"),
    [
        ("sse4_2 avx512_bf16 amx_bf16", (TILES,), True),
        ("sse4_2 avx512_bf16", (TILES,), False),
        ("sse4_2 avx512_bf16", (TILES, VECTORS), True),
        ("sse4_2 avx512f", (TILES, VECTORS), False),
    ],
)
def test_processors_compute_bfloat16_if_they_have_instructions_for_it(
    flags: str,
    asked: tuple[str, ...],
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"flags\t: {flags}\n")
    monkeypatch.setattr(devices, "_FLAGS", file)
    monkeypatch.setattr(devices, "has_accelerator", lambda: False)
    assert computes_bfloat16(*asked) is expected
    monkeypatch.setattr(devices, "has_accelerator", lambda: True)
    assert computes_bfloat16(*asked)


def test_machines_without_a_list_of_flags_compute_in_full_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_FLAGS", tmp_path / "none")
    monkeypatch.setattr(devices, "has_accelerator", lambda: False)
    assert not computes_bfloat16(TILES, VECTORS)
