"""Weights are fetched from a local server that breaks, refuses ranges and sends wrong bytes."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.errors import InvalidInput, Unavailable
from tests.support.servers import free_port
from trainer.weights import download as downloads
from trainer.weights.download import CHUNK, BrokenDownload, download
from trainer.weights.fetch import fetch
from trainer.weights.files import FILES, Source, WeightsFile, cost, table

CONTENT = bytes(range(256)) * 12_000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@dataclass
class Server:
    """A server of one file.

    Attributes:
        breaks: Bytes after which the next connections break.
        ranges: False to ignore ranges.
        statuses: Statuses of the next answers instead of the file.
        asked: `Range` of each request.
    """

    url: str = ""
    content: bytes = CONTENT
    breaks: list[int] = field(default_factory=list)
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            state.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if state.statuses:
                self.send_error(state.statuses.pop(0))
                return
            if not state.ranges:
                start = 0
            elif start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.breaks.pop(0)] if state.breaks else body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}/weights.h5"
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        yield state
        http.shutdown()


def _get(server: Server, target: Path, md5: str = MD5) -> None:
    download(server.url, target, md5=md5, on_bytes=lambda *_: None, pause_seconds=0.01)


def test_broken_connection_is_resumed_where_it_broke(server: Server, tmp_path: Path) -> None:
    server.breaks = [1_500_000, 700_000]
    _get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    first = 1_500_000 // CHUNK * CHUNK
    assert server.asked == [None, f"bytes={first}-", f"bytes={first + 700_000 // CHUNK * CHUNK}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_interrupted_download_goes_on_at_the_next_call(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TRIES", 1)
    server.breaks = [2_000_000]
    with pytest.raises(Unavailable, match="cannot be fetched"):
        _get(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    _get(server, tmp_path / "file")
    assert server.asked == [None, f"bytes={2_000_000 // CHUNK * CHUNK}-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_server_without_ranges_sends_the_file_again(server: Server, tmp_path: Path) -> None:
    server.breaks, server.ranges = [2_000_000], False
    _get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_wrong_checksum_leaves_nothing_and_the_next_call_begins_again(
    server: Server, tmp_path: Path
) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(BrokenDownload, match=MD5):
        _get(server, tmp_path / "file")
    assert [*tmp_path.iterdir()] == []
    server.content = CONTENT
    _get(server, tmp_path / "file")
    assert server.asked == [None, None]


def test_part_that_is_complete_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(CONTENT)
    _get(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_busy_server_is_tried_again_and_a_refusal_is_final(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    _get(server, tmp_path / "file")
    assert len(server.asked) == 3
    server.statuses = [404]
    with pytest.raises(Unavailable, match="HTTP 404"):
        _get(server, tmp_path / "other")
    assert len(server.asked) == 4


def test_proxy_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The proxy is the server itself: it receives the address of another host.
    monkeypatch.setenv("HTTP_PROXY", server.url.rpartition("/")[0])
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    url = "http://weights.invalid/weights.h5"
    download(url, tmp_path / "file", md5=MD5, on_bytes=lambda *_: None)
    assert (tmp_path / "file").read_bytes() == CONTENT


def _copied(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:10])


def _files(url: str) -> tuple[WeightsFile, WeightsFile]:
    return (
        WeightsFile("one.npz", ("image_one", "image_pair"), Source(url, MD5, 3_072_000, _copied)),
        WeightsFile("two.keras", ("image_two",)),
    )


def test_weights_are_fetched_converted_and_then_there(server: Server, tmp_path: Path) -> None:
    lines: list[str] = []
    assert fetch(tmp_path, (), lines.append, _files(server.url)) == 0
    assert (tmp_path / "one.npz").read_bytes() == CONTENT[:10]
    assert not (tmp_path / "weights.h5").exists()
    assert any("two.keras is not published" in line for line in lines)
    assert lines[-1].endswith(f"--weights {tmp_path}")
    assert fetch(tmp_path, ("image_one",), lines.append, _files(server.url)) == 0
    assert "one.npz is there" in lines
    assert len(server.asked) == 1


def test_published_file_that_was_copied_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(CONTENT)
    files = _files(f"http://127.0.0.1:{free_port()}/weights.h5")
    assert fetch(tmp_path, ("one.npz",), print, files) == 0
    assert (tmp_path / "one.npz").exists()


def test_missing_network_names_files_addresses_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TRIES", 1)
    url, lines = f"http://127.0.0.1:{free_port()}/weights.h5", list[str]()
    assert fetch(tmp_path, ("image_pair", "two.keras"), lines.append, _files(url)) == 1
    report = lines[-1]
    for expected in (f"one.npz, for image_one, image_pair, from {url}", "two.keras", "HTTPS_PROXY"):
        assert expected in report


def test_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="image_one"):
        fetch(tmp_path, ("image_three",), print, _files("http://x.invalid/weights.h5"))


def test_list_shows_files_candidates_and_presence(tmp_path: Path) -> None:
    (tmp_path / FILES[0].name).touch()
    lines = table(tmp_path)
    assert "image_xception" in lines[1]
    assert lines[1].endswith("present")
    assert any("image_resnet50" in line and "95 MB" in line for line in lines)
    assert any(line.endswith("missing, copy your own") for line in lines)


def test_training_without_weights_states_what_it_costs(tmp_path: Path) -> None:
    assert "classified by text only" in (cost(None) or "")
    assert "image_resnet50" in (cost(tmp_path) or "")
    for one in FILES:
        (tmp_path / one.name).touch()
    assert cost(tmp_path) is None
