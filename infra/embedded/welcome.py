"""What a person reads when the system has become ready."""

from infra.embedded.settings import EmbeddedSettings

#: Takes one field out of a JSON answer, with what is on every machine that runs Rayon.
FIELD = "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"{name}\"])'"


def welcome(settings: EmbeddedSettings, username: str, password: str, seconds: float) -> str:
    """Say where everything is, and give a command that classifies a product.

    Args:
        settings: Ports and places.
        username: The first account.
        password: The one made at this start, shown this once; empty if there is none to show.
        seconds: How long the start took.
    """
    note = f"\n  password   {password}   (made for you, shown only now)" if password else ""
    return f"""
Rayon is ready after {seconds:.0f} s.

  address    {settings.address}
  manual     {settings.address}/docs
  username   {username}{note}
  data       {settings.home}
  logs       {settings.home / "logs"}

Classify a product (one line):

  {_classify(settings.address, username, password or "$RAYON_ADMIN_PASSWORD")}

On the command line (`.venv/bin/rayon --help` tells more):

  .venv/bin/rayon login --url {settings.address} --username {username}
  .venv/bin/rayon classify 'Piscine gonflable ronde'

Ctrl-C stops everything; the data stays.
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
