"""Welcome text, printed once the system is ready."""

from infra.embedded.settings import EmbeddedSettings

#: Command that extracts one field of a JSON answer; every machine with Rayon has Python.
FIELD = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"{name}\"])'"


def welcome(settings: EmbeddedSettings, username: str, password: str, seconds: float) -> str:
    """Return addresses, folders and a command that classifies a product.

    Args:
        settings: Ports and folders.
        username: Name of the first account.
        password: Password generated at this start; empty if there is none to show.
        seconds: Duration of the start.
    """
    note = f"\n  password   {password}   (generated, shown only once)" if password else ""
    return f"""
Rayon is ready after {seconds:.0f} s.

  console    {settings.address}/console
  address    {settings.address}
  manual     {settings.address}/docs
  username   {username}{note}
  data       {settings.home}
  logs       {settings.home / "logs"}

Classify a product (one line):

  {_classify(settings.address, username, password or "$RAYON_ADMIN_PASSWORD")}

On the command line (see `.venv/bin/rayon --help`):

  .venv/bin/rayon login --url {settings.address} --username {username}
  .venv/bin/rayon classify 'Piscine gonflable ronde'

Ctrl-C stops everything; the data is kept.
"""


def _classify(address: str, username: str, password: str) -> str:
    token = (
        f'TOKEN=$(curl -s {address}/v1/token -d username={username} -d "password={password}"'
        f" | {FIELD.format(name='access_token')})"
    )
    job = (
        f'JOB=$(curl -s {address}/v1/jobs -H "Authorization: Bearer $TOKEN"'
        f" -F designation='Piscine gonflable ronde' | {FIELD.format(name='id')})"
    )
    answer = f'curl -s -H "Authorization: Bearer $TOKEN" "{address}/v1/jobs/$JOB?wait=30"'
    return f"{token}; {job}; {answer}"
