"""A private certificate authority, an HTTPS package index that it signs, and system stores.

`update-ca-certificates` writes the stores, as on Debian and Ubuntu. A mount namespace puts a store
in the place of the machine's own store for one command; the machine's store does not change.
"""

import base64
import hashlib
import io
import os
import shutil
import ssl
import stat
import subprocess
import threading
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.servers import skip_or_fail

ADDRESS = "127.0.0.1"
STORE = Path("/etc/ssl/certs")
#: Validity of a certificate before and after now.
VALID = timedelta(days=1)
#: Time limit of a command.
SECONDS = 120
#: pip makes a script executable only if its entry is an executable regular file.
EXECUTABLE = (stat.S_IFREG | 0o755) << 16
#: Search path with the folders of administrative commands, which an ordinary user may lack.
ADMIN_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class Authority:
    """A private authority with one server certificate for 127.0.0.1.

    Attributes:
        bundle: A PEM file with the certificate of the authority.
        server: A PEM file with the key and the certificate of the server.
    """

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.bundle = folder / f"{name}.crt"
        self.server = folder / "server.pem"
        key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        root = (
            _certificate(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(issuer, critical=False)
            .sign(key, SHA256())
        )
        leaf = (
            _certificate(ADDRESS, name, server_key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(ADDRESS))]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer),
                critical=False,
            )
            .sign(key, SHA256())
        )
        self.bundle.write_bytes(root.public_bytes(Encoding.PEM))
        secret = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.server.write_bytes(secret + leaf.public_bytes(Encoding.PEM))


class PackageIndex:
    """A package index in a thread of this process; over HTTPS if an authority signs it."""

    def __init__(self, wheels: Mapping[str, bytes], authority: Authority | None) -> None:
        self.locks = {name: lock(name, wheel) for name, wheel in wheels.items()}
        self._server = ThreadingHTTPServer((ADDRESS, 0), _handler(_pages(wheels)))
        self.url = f"http://{ADDRESS}:{self._server.server_port}/simple"
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(authority.server)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "PackageIndex":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def wheel(name: str, scripts: Mapping[str, str] | None = None) -> bytes:
    """Return a wheel of version 1.0 with one empty module and the scripts."""
    module = name.replace("-", "_")
    files = {
        f"{module}.py": "",
        f"{module}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{module}-1.0.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    files |= {
        f"{module}-1.0.data/scripts/{script}": text for script, text in (scripts or {}).items()
    }
    record = f"{module}-1.0.dist-info/RECORD"
    files[record] = (
        "".join(f"{_record(path, text)}\n" for path, text in files.items()) + record + ",,"
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = EXECUTABLE
            archive.writestr(entry, text)
    return packed.getvalue()


def wheel_name(name: str) -> str:
    """Return the file name of a wheel that `wheel` makes."""
    return f"{name.replace('-', '_')}-1.0-py3-none-any.whl"


def lock(name: str, content: bytes) -> str:
    """Return the line of a requirements file that pins a wheel by its hash."""
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"


def system_store(folder: Path, *authorities: Authority) -> Path:
    """Write a certificate store with only these authorities and return its folder."""
    command = shutil.which("update-ca-certificates", path=ADMIN_PATH)
    if command is None:
        skip_or_fail("update-ca-certificates is not installed")
    local, store, none = (folder / name for name in ("local", "certs", "none"))
    for made in (local, store, none):
        made.mkdir(parents=True)
    for authority in authorities:
        shutil.copy(authority.bundle, local)
    # With an empty configuration, none of the authorities of the distribution is trusted.
    options = {
        "--localcertsdir": local,
        "--etccertsdir": store,
        "--certsdir": none,
        "--certsconf": Path(os.devnull),
        "--hooksdir": none / "hooks",
    }
    subprocess.run(
        [command, *(str(part) for option in options.items() for part in option)],
        check=True,
        capture_output=True,
        timeout=SECONDS,
        env={"PATH": ADMIN_PATH},
    )
    return store


def run_with_store(
    store: Path, command: list[str], environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command with `store` as the system store and only these environment variables."""
    mount = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    enter = [*_namespace(), "sh", "-c", mount, "sh", str(store), str(STORE)]
    variables = [f"{name}={value}" for name, value in environment.items()]
    return subprocess.run(
        [*enter, *_without_root(), "env", "-i", *variables, *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )


@cache
def _namespace() -> list[str]:
    """Return the first command of several that may enter a mount namespace on this machine."""
    if not STORE.is_dir():
        skip_or_fail(f"the system has no certificate store in {STORE}")
    # Ubuntu denies user namespaces to most programs; its CI machines allow sudo.
    ways = (
        ["unshare", "--mount"],
        ["unshare", "--map-root-user", "--mount"],
        ["sudo", "--non-interactive", "unshare", "--mount"],
    )
    allowed = next((way for way in ways if _can_mount(way)), None)
    return allowed or skip_or_fail("mount namespaces are not allowed here")


def _can_mount(way: list[str]) -> bool:
    if shutil.which(way[0]) is None:
        return False
    probe = [*way, "mount", "--bind", str(STORE), str(STORE)]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _without_root() -> list[str]:
    """Return the command prefix that drops root privileges if sudo was used, else nothing."""
    if _namespace()[0] != "sudo":
        return []
    return ["setpriv", f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--clear-groups"]


def _certificate(
    subject: str, issuer: str, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - VALID)
        .not_valid_after(now + VALID)
    )


def _record(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return f"{path},sha256={digest},{len(text.encode())}"


def _pages(wheels: Mapping[str, bytes]) -> dict[str, bytes]:
    pages = {}
    for name, content in wheels.items():
        file = wheel_name(name)
        pages[f"/simple/{name}/"] = f'<!DOCTYPE html><a href="{file}">{file}</a>'.encode()
        pages[f"/simple/{name}/{file}"] = content
    return pages


def _handler(pages: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self.wfile.write(self._answer())

        def _answer(self) -> bytes:
            page = pages.get(self.path)
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            return page or b""

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return Handler
