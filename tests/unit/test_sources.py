"""Where files are looked for, and how they are downloaded (from a real server on 127.0.0.1)."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from expkit.api import DataError
from expkit_datasets.sources import RemoteFile, UnavailableError, download, locate, names_in

CONTENT = {"a.gz": b"first file" * 1000, "b.gz": b"second file"}
SOON = 9.0
"""Seconds, on a machine that is busy with other things; what hangs takes longer."""
FILES = [RemoteFile(name, len(data), hashlib.md5(data).hexdigest()) for name, data in CONTENT.items()]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPKIT_DATA_DIR", raising=False)
    monkeypatch.setenv("EXPKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """(address, served folder, paths that were asked for)."""
    folder = tmp_path / "served"
    folder.mkdir()
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, _format: str, *args: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/", folder, asked
        running.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """Address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture
def closed() -> str:
    """Address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


def serve(folder: Path, **changed: bytes) -> None:
    for name, data in CONTENT.items():
        (folder / name).write_bytes(changed.get(name[0], data))


def holds_a(folder: Path) -> bool:
    return (folder / "a.gz").is_file()


def never(folder: Path) -> str:
    raise AssertionError(f"download into {folder}")


def test_root_comes_before_all_else_and_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path))
    (tmp_path / "letters").mkdir()
    place = locate("letters", root=str(tmp_path / "nowhere"), complete=holds_a, fetch=never)
    assert (place.source.kind, place.folder) == ("root", tmp_path / "nowhere")


def test_data_dir_with_the_subfolder_comes_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path))
    (tmp_path / "letters").mkdir()
    place = locate("letters", root=None, complete=lambda _folder: True, fetch=never)
    assert (place.source.kind, place.source.location) == ("env", str(tmp_path / "letters"))


def test_data_dir_without_the_subfolder_goes_on_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path / "nowhere"))
    cached = tmp_path / "cache" / "letters"
    cached.mkdir(parents=True)
    (cached / "a.gz").touch()
    place = locate("letters", root=None, complete=holds_a, fetch=never)
    assert (place.source.kind, place.folder) == ("cache", cached)


def test_an_incomplete_cache_is_filled_by_the_download(tmp_path: Path) -> None:
    place = locate("letters", root=None, complete=holds_a, fetch=lambda _folder: "https://mirror/")
    assert (place.source.kind, place.source.location) == ("download", "https://mirror/")
    assert place.folder == tmp_path / "cache" / "letters"


def test_when_nothing_is_left_every_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPKIT_DATA_DIR", str(tmp_path))
    with pytest.raises(UnavailableError, match=r"has no folder 'letters'; the cache .* download is switched off"):
        locate("letters", root=None, complete=holds_a, fetch=None)


def test_names_in_tells_a_missing_folder_from_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset 'letters': .*nowhere does not exist\. Set dataset\.root"):
        names_in(tmp_path / "nowhere", dataset="letters")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is a file; a folder is expected"):
        names_in(tmp_path / "file", dataset="letters")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match="loop cannot be read"):
        names_in(tmp_path / "loop", dataset="letters")


def test_download_writes_checked_files_and_nothing_else(tmp_path: Path, server: tuple[str, Path, list[str]]) -> None:
    address, folder, _ = server
    serve(folder)
    target = tmp_path / "deep" / "target"
    assert download(FILES, [address], target, dataset="letters") == address
    assert {path.name: path.read_bytes() for path in target.iterdir()} == CONTENT


def test_corrupt_download_is_removed_and_the_next_mirror_asked(
    tmp_path: Path, server: tuple[str, Path, list[str]]
) -> None:
    address, folder, asked = server
    for name in ("bad", "good"):
        (folder / name).mkdir()
    serve(folder / "bad", a=b"<html>log in to this network</html>")
    serve(folder / "good")
    download(FILES[:1], [f"{address}bad/", f"{address}good/"], tmp_path / "target", dataset="letters")
    assert (tmp_path / "target" / "a.gz").read_bytes() == CONTENT["a.gz"]
    assert len(asked) == 2


@pytest.mark.parametrize("wrong", [b"", b"short", b"x" * 200_000], ids=["empty", "short", "long"])
def test_wrong_bytes_everywhere_leave_no_file(
    tmp_path: Path, server: tuple[str, Path, list[str]], wrong: bytes
) -> None:
    address, folder, _ = server
    serve(folder, a=wrong)
    with pytest.raises(
        UnavailableError, match=r"a\.gz: not the official file: [\d,]+ bytes with md5 \w+, expected 10,000"
    ):
        download(FILES, [address], tmp_path / "target", dataset="letters")
    assert list((tmp_path / "target").iterdir()) == []


def test_files_that_arrived_are_kept_when_a_later_one_fails(
    tmp_path: Path, server: tuple[str, Path, list[str]]
) -> None:
    address, folder, _ = server
    serve(folder)
    (folder / "b.gz").unlink()
    with pytest.raises(UnavailableError, match=r"b\.gz: .*(404|not found)"):
        download(FILES, [address], tmp_path / "target", dataset="letters")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["a.gz"]


def test_closed_port_fails_at_once(tmp_path: Path, closed: str) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="Connection refused"):
        download(FILES, [closed, closed], tmp_path / "target", dataset="letters")
    assert time.monotonic() - started < SOON


def test_silent_servers_are_given_up_together(tmp_path: Path, silent: str) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="download failed"):
        download(FILES * 10, [silent, silent], tmp_path / "target", dataset="letters", timeout=0.3)
    assert time.monotonic() - started < SOON  # two mirrors for the first file, and no other file


def test_slow_name_lookup_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*_args: object, **_kwargs: object) -> list[object]:
        released.wait(60)
        raise socket.gaierror("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
        download(FILES, ["http://mirror.invalid/"], tmp_path / "target", dataset="letters", timeout=0.2)
    assert time.monotonic() - started < SOON
    released.set()


@pytest.mark.parametrize("mirror", ["no address at all/", "https://", "unknown://x/"])
def test_an_address_that_is_none_is_told(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(UnavailableError, match="download failed"):
        download(FILES, [mirror], tmp_path / "target", dataset="letters")


def test_no_mirrors_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no mirror is given"):
        download(FILES, [], tmp_path / "target", dataset="letters")


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, closed: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="cannot be written"):
        download(FILES, [closed], tmp_path / "file" / "target", dataset="letters")


def test_a_bar_is_shown_on_a_terminal_only(
    tmp_path: Path, server: tuple[str, Path, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    address, folder, _ = server
    serve(folder)
    download(FILES, [address], tmp_path / "target", dataset="letters")
    assert capfd.readouterr() == ("", "")
