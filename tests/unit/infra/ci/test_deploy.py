"""A deployment, with an `ssh` that runs here and a `docker` that writes down what it is asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import until

PROJECT = Path(__file__).parents[4]
DIGEST = "registry.example.org/shop/rayon/gateway@sha256:" + "a" * 64
#: Runs the command on this machine, in the folder of whoever is signed in there. Cannot reach it
#: for commands that have REFUSED in them; for those with CUT the connection breaks once there is
#: another version, and the command goes on there. Ends with 255 then, as ssh does.
SSH = """#!/usr/bin/env bash
echo "ssh $1" >>"$CALLS"
cd "$MACHINE" || exit
case "$2" in
*"$REFUSED"*) exit 255 ;;
*"$CUT"*)
  bash -c "$2" </dev/null >/dev/null 2>&1 &
  until grep -qx "$VERSION" rayon/app/version && [ -e rayon/app/.env ]; do sleep 0.02; done
  exit 255
  ;;
esac
exec bash -c "$2"
"""
#: Parts that only the command of a replacement contains, and only that of a rollback.
REPLACE, GO_BACK = "mv incoming app", "mv previous app"
#: Fails to start the versions that BROKEN names, and takes its time for SLOW; says that a gateway
#: runs once it was started.
DOCKER = """#!/usr/bin/env bash
echo "docker $*" >>"$CALLS"
case "$*" in
"pull --quiet $GONE") exit 1 ;;
*" ps "*) [ ! -e "$MACHINE/runs" ] || echo c1 ;;
*" up "*)
  grep '^RAYON_VERSION=' .env >>"$CALLS"
  touch "$MACHINE/runs"
  if grep -qx "RAYON_VERSION=$SLOW" .env; then sleep 1; echo "$SLOW is up" >>"$CALLS"; fi
  ! grep -qxE "RAYON_VERSION=($BROKEN)" .env || exit "$BROKEN_CODE"
  ;;
esac
"""
#: In place of `sh`, which deploys by `infra/compose/roll.sh` where something runs.
SHELL = """#!/usr/bin/env bash
echo "sh $*" >>"$CALLS"
[ "$2" != "$STUCK" ]
"""


class Machine:
    """A machine that is deployed to."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._tools, self._calls = folder / "tools", folder / "calls"
        for made in (self.home, self._tools):
            made.mkdir()
        for name, text in (("ssh", SSH), ("docker", DOCKER), ("sh", SHELL)):
            (self._tools / name).write_text(text)
            (self._tools / name).chmod(0o755)

    def deploy(self, version: str, **settings: str) -> int:
        """Deploy a version; returns the exit code."""
        self._calls.write_text("")
        environment = {
            "PATH": f"{self._tools}:{os.environ['PATH']}",
            "MACHINE": str(self.home),
            "CALLS": str(self._calls),
            "BROKEN": "none",
            "BROKEN_CODE": "1",
            "GONE": "none",
            "STUCK": "none",
            "SLOW": "none",
            "REFUSED": "nothing of that kind",
            "CUT": "nothing of that kind",
            "HOST": "rayon@vm",
            "URL": "http://rayon.test",
            "SSH": "ssh",
            "SMOKE": "true",
        }
        ended = subprocess.run(
            ["bash", "infra/ci/deploy.sh"],
            cwd=PROJECT,
            env=environment | settings | {"VERSION": version},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.said = ended.stderr
        return ended.returncode

    @property
    def calls(self) -> list[str]:
        """Return the calls of ssh and docker, and the version passed to Compose."""
        return self._calls.read_text().splitlines()

    @property
    def versions(self) -> list[str]:
        """The versions that Compose was told to start, in their order."""
        return [call.partition("=")[2] for call in self.calls if call.startswith("RAYON_VERSION=")]

    def version(self, folder: str = "app") -> str:
        """The version whose files are there."""
        return (self.home / "rayon" / folder / "version").read_text().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if shutil.which("tar") is None:
        pytest.skip("tar is not installed")
    return Machine(tmp_path)


def test_first_version_is_sent_and_started(machine: Machine) -> None:
    assert machine.deploy("1.0.0") == 0
    assert machine.version() == "1.0.0"
    assert machine.versions == ["1.0.0"]
    compose = next(call for call in machine.calls if call.startswith("docker compose up"))
    assert "--detach --no-build" in compose
    assert "--wait" in compose
    assert "sh infra/compose/roll.sh 1.0.0" not in machine.calls
    assert (machine.home / "rayon/app/docker-compose.yml").exists()
    assert (machine.home / "rayon/app/infra/compose/roles.sql").exists()
    assert not (machine.home / "rayon/app/infra/starter_release").exists()


def test_settings_of_the_machine_stay(machine: Machine) -> None:
    (machine.home / "rayon").mkdir()
    settings = machine.home / "rayon" / "settings.env"
    settings.write_text("TEXT_WORKERS=3")
    assert machine.deploy("1.0.0") == 0
    assert settings.read_text() == "TEXT_WORKERS=3"
    found = (machine.home / "rayon/app/.env").read_text().split()
    assert found == ["TEXT_WORKERS=3", "RAYON_VERSION=1.0.0"]


def test_next_version_keeps_the_previous_one(machine: Machine) -> None:
    machine.deploy("1.0.0")
    assert machine.deploy("1.1.0") == 0
    assert machine.version() == "1.1.0"
    assert machine.version("previous") == "1.0.0"
    assert "sh infra/compose/roll.sh 1.1.0" in machine.calls


def test_version_that_fails_its_smoke_test_is_rolled_back(machine: Machine) -> None:
    machine.deploy("1.0.0")
    smoke = machine.home / "smoke"
    smoke.write_text('#!/usr/bin/env bash\n[ "$(cat "$MACHINE"/rayon/app/version)" != 1.1.0 ]\n')
    smoke.chmod(0o755)
    assert machine.deploy("1.1.0", SMOKE=str(smoke)) == 1
    assert machine.versions == ["1.1.0", "1.0.0"]
    assert machine.version() == "1.0.0"
    assert "1.1.0 does not work; going back" in machine.said


def test_version_that_does_not_start_is_rolled_back(machine: Machine) -> None:
    machine.deploy("1.0.0")
    assert machine.deploy("1.1.0", BROKEN="1.1.0") == 1
    assert machine.versions == ["1.1.0", "1.0.0"]
    assert machine.version() == "1.0.0"


def test_version_that_cannot_be_rolled_out_is_rolled_back(machine: Machine) -> None:
    machine.deploy("1.0.0")
    assert machine.deploy("1.1.0", STUCK="1.1.0") == 1
    assert machine.version() == "1.0.0"
    assert machine.calls.index("sh infra/compose/roll.sh 1.1.0") < machine.calls.index(
        "sh infra/compose/roll.sh 1.0.0"
    )


def test_failed_rollback_has_its_own_exit_code(machine: Machine) -> None:
    machine.deploy("1.0.0")
    assert machine.deploy("1.1.0", SMOKE="false") == 3


def test_failed_first_version_is_not_rolled_back(machine: Machine) -> None:
    assert machine.deploy("1.0.0", SMOKE="false") == 1
    assert machine.versions == ["1.0.0"]
    assert "there is no version before" in machine.said


def with_two_versions(machine: Machine) -> Machine:
    machine.deploy("1.0.0")
    machine.deploy("1.1.0")
    return machine


def test_running_version_that_was_not_replaced_is_kept_not_its_predecessor(
    machine: Machine,
) -> None:
    with_two_versions(machine)
    assert machine.deploy("1.2.0", REFUSED=REPLACE) == 1
    assert machine.version() == "1.1.0"
    assert machine.version("previous") == "1.0.0"
    assert machine.versions == []
    assert "the version before was not replaced" in machine.said


def test_failed_redeployment_keeps_the_same_version(machine: Machine) -> None:
    with_two_versions(machine)
    assert machine.deploy("1.1.0", REFUSED=REPLACE) == 1
    assert machine.version() == "1.1.0"
    assert machine.versions == []


@pytest.mark.parametrize("command", ["rm -rf incoming", "docker pull"])
def test_unreachable_machine_has_its_own_exit_code(
    machine: Machine, tmp_path: Path, command: str
) -> None:
    with_two_versions(machine)
    digests = tmp_path / "digests.txt"
    digests.write_text(f"gateway {DIGEST}\n")
    assert machine.deploy("1.2.0", REFUSED=command, DIGESTS=str(digests)) == 3
    assert machine.version() == "1.1.0"
    assert "rayon@vm cannot be reached" in machine.said


def test_machine_that_stays_unreachable_is_not_reported_as_rolled_back(machine: Machine) -> None:
    with_two_versions(machine)
    assert machine.deploy("1.2.0", BROKEN="1.2.0", REFUSED=GO_BACK) == 3
    assert "rayon@vm cannot be reached" in machine.said
    assert "no version before" not in machine.said


def test_rollback_waits_for_the_remote_command_after_a_broken_connection(machine: Machine) -> None:
    with_two_versions(machine)
    assert machine.deploy("1.2.0", CUT=REPLACE, SLOW="1.2.0") == 1
    assert machine.calls.index("1.2.0 is up") < machine.calls.index("RAYON_VERSION=1.1.0")
    assert machine.version() == "1.1.0"
    assert machine.version("failed") == "1.2.0"


def test_wait_for_another_deployment_has_a_time_limit(machine: Machine) -> None:
    with_two_versions(machine)
    assert machine.deploy("1.2.0", CUT=REPLACE, SLOW="1.2.0", LOCK_SECONDS="0.1") == 3
    assert "Another deployment does not end" in machine.said
    until(lambda: "1.2.0 is up" in machine.calls, 10, "the broken one ends")


def test_image_that_cannot_be_pulled_replaces_nothing(machine: Machine, tmp_path: Path) -> None:
    with_two_versions(machine)
    digests = tmp_path / "digests.txt"
    digests.write_text(f"gateway {DIGEST}\n")
    assert machine.deploy("1.2.0", DIGESTS=str(digests), GONE=DIGEST) == 1
    assert machine.version() == "1.1.0"
    assert "nothing was replaced" in machine.said


def test_remote_exit_code_255_is_not_taken_for_an_ssh_failure(machine: Machine) -> None:
    with_two_versions(machine)
    assert machine.deploy("1.2.0", BROKEN="1.2.0", BROKEN_CODE="255") == 1
    assert machine.version() == "1.1.0"


@pytest.mark.parametrize(
    ("found", "left"),
    [
        # Broken off before the new one was in its place, and after that.
        (
            {"previous.new": "1.1.0", "previous": "1.0.0"},
            {"app": "1.1.0", "previous": "1.0.0"},
        ),
        (
            {"app": "1.2.0", "previous.new": "1.1.0", "previous": "1.0.0"},
            {"app": "1.2.0", "previous": "1.1.0"},
        ),
    ],
)
def test_interrupted_replacement_loses_no_version(
    machine: Machine, found: dict[str, str], left: dict[str, str]
) -> None:
    for name, version in found.items():
        (machine.home / "rayon" / name).mkdir(parents=True)
        (machine.home / "rayon" / name / "version").write_text(f"{version}\n")
    assert machine.deploy("1.3.0", REFUSED=REPLACE) == 1
    assert {name: machine.version(name) for name in left} == left
    assert not (machine.home / "rayon" / "previous.new").exists()


def test_images_are_pulled_by_digest(machine: Machine, tmp_path: Path) -> None:
    digests = tmp_path / "digests.txt"
    digests.write_text(f"gateway {DIGEST}\n")
    assert machine.deploy("1.0.0", DIGESTS=str(digests)) == 0
    assert f"docker pull --quiet {DIGEST}" in machine.calls
    assert f"docker tag {DIGEST} rayon/gateway:1.0.0" in machine.calls


@pytest.mark.parametrize("line", ["gateway registry/rayon/gateway:latest", f"gate;way {DIGEST}"])
def test_image_without_a_digest_is_refused(machine: Machine, tmp_path: Path, line: str) -> None:
    digests = tmp_path / "digests.txt"
    digests.write_text(f"{line}\n")
    assert machine.deploy("1.0.0", DIGESTS=str(digests)) == 2
    assert machine.versions == []


@pytest.mark.parametrize("version", ["1.0.0; reboot", "$(reboot)", "../1", ""])
def test_version_that_is_not_a_valid_tag_is_refused(machine: Machine, version: str) -> None:
    assert machine.deploy(version) != 0
    assert machine.calls == []
