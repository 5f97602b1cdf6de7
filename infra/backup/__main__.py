"""Back up or restore a whole system.

    python -m infra.backup save FOLDER             # the embedded system, while it runs
    python -m infra.backup restore FOLDER          # into an empty one
    python -m infra.backup --compose save FOLDER   # that of docker-compose.yml

A backup holds the secrets too, for without them nobody could sign in: keep it as safe as those.
"""

import argparse
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from infra.backup.manifest import BackupError, Manifest
from infra.backup.system import System
from shared.invalid_settings import run_program


def main() -> int:
    """Back up or restore, print the outcome and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["save", "restore"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compose", action="store_true", help="the system of docker-compose.yml")
    parser.add_argument("--replace", action="store_true", help="remove what is there first")
    given = parser.parse_args()
    try:
        system = _compose() if given.compose else _embedded()
        if given.action == "save":
            save(system, given.folder)
        else:
            restore(system, given.folder, replace=given.replace)
    except BackupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def save(system: System, folder: Path) -> None:
    """Back up a system to a new folder that appears atomically."""
    if folder.exists():
        raise BackupError(f"Expected a new folder. Received: {folder}, which exists")
    made_at, incoming = datetime.now(UTC), folder.with_name(f".{folder.name}.incoming")
    # Only the owner may read the secrets.
    incoming.mkdir(mode=0o700, parents=True)
    try:
        counts = system.save(incoming)
        Manifest.of(incoming, made_at, system.name, counts)
        incoming.rename(folder)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    size = sum(one.stat().st_size for one in folder.iterdir())
    print(f"Saved {counts['rayon.jobs']} jobs and all other data to {folder}, {size / 1e6:.1f} MB")


def restore(system: System, folder: Path, *, replace: bool) -> None:
    """Restore a system from a folder and compare the row counts with the backup."""
    manifest = Manifest.read(folder)
    if manifest.system != system.name:
        raise BackupError(f"Expected a backup of {system.name}. Received: of {manifest.system}")
    system.check(folder)
    if not system.is_empty():
        if not replace:
            raise BackupError(
                "The system is not empty; --replace (REPLACE=1) removes what is there"
            )
        system.clear()
    system.restore(folder)
    found = system.counts()
    wrong = [
        f"{name}: {said} saved, {found.get(name)} restored"
        for name, said in manifest.counts.items()
        if found.get(name) != said
    ]
    if wrong:
        raise BackupError(f"Row counts differ after the restore: {', '.join(wrong)}")
    print(f"Restored {found['rayon.jobs']} jobs and all other data from {manifest.made_at}.")
    print(f"Start it: {system.start_command()}")


def _compose() -> System:
    from infra.backup.compose import ComposeSystem

    return ComposeSystem()


def _embedded() -> System:
    # Imported late: a host that only runs containers lacks these dependencies.
    from infra.backup.embedded import EmbeddedSystem
    from infra.embedded.settings import EmbeddedSettings, read_dotenv

    read_dotenv()
    return EmbeddedSystem(EmbeddedSettings().home.resolve(), os.environ)


if __name__ == "__main__":
    run_program(main)
