"""The whole system is killed, started again and interrupted.

These tests run last, because they stop the system that the other tests use.
"""

from pathlib import Path

import pytest

from infra.embedded.instance import unready
from tests.e2e.system import System, final
from tests.support.servers import until


@pytest.mark.timeout(900)
def test_killed_supervisord_is_started_again_with_all_programs(system: System) -> None:
    before = system.processes()
    before.pop("starting", None)
    before["supervisord"].kill()

    def is_replaced() -> bool:
        running = system.processes()
        return set(running) >= set(before) and running["supervisord"] != before["supervisord"]

    until(is_replaced, 120, "all programs run again")
    assert "[supervisord] exited and is started again" in system.output
    until(lambda: not unready(system.address), 600, "the system is ready again")
    with system.client() as client:
        assert final(client, data={"designation": "Console portable"})["status"] == "done"


def test_killed_launcher_leaves_no_process_and_a_restart_keeps_users_and_jobs(
    system: System,
) -> None:
    with system.client() as client:
        releases = client.get("/v1/releases").json()["items"]
        account = {"username": "amelie", "password": "correct horse battery"}
        assert client.post("/v1/users", json=account).status_code == 201
        job = final(client, data={"designation": "Console portable"})
    system.kill_launcher()
    until(lambda: not system.processes(), 40, "the processes of the killed launcher have ended")

    system.start()

    assert "shown only once" not in system.output
    with system.client() as client:
        names = {user["username"] for user in client.get("/v1/users").json()["items"]}
        assert {"admin", "amelie"} <= names
        assert client.get(f"/v1/jobs/{job['id']}").json() == job
        # The gateway is ready with the ledger alone; the registry may need a moment more.
        until(
            lambda: client.get("/v1/releases").json().get("items") == releases,
            60,
            "the registry lists the releases again",
        )


def test_interrupted_system_leaves_no_process(system: System) -> None:
    assert system.processes()
    assert system.interrupt() == 0
    assert not system.processes()


def test_launcher_without_its_supervisor_ends_and_leaves_no_process(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.launch()
    try:
        until(
            lambda: {"redis", "gateway"} <= set(system.processes()),
            60,
            "the first processes have started",
        )
        system.processes()["supervisord"].kill()
        assert system.exit_code() == 1
        assert "supervisord exited" in system.output
        assert not system.processes()
    finally:
        system.stop()
