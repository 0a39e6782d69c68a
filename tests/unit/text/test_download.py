"""A download is whole or it is an error; nothing else is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bertkd_fairseq import cli
from bertkd_fairseq.errors import DataError
from bertkd_fairseq.text.download import download
from tests.iwslt14_archive import write_archive

CONTENT = b"0123456789" * 1000


class Handler(BaseHTTPRequestHandler):
    content = CONTENT

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unknown-length":
            # /cut promises more than it gives.
            self.send_header("Content-Length", str(len(self.content) + 7 * (self.path == "/cut")))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/whole", "/unknown-length"])
def test_whole_file_appears_after_its_check(address: str, tmp_path: Path, path: str) -> None:
    file = tmp_path / "new" / "file"
    seen = []

    def check(partial: Path) -> None:
        seen.append((partial.read_bytes(), file.exists()))

    download(address + path, file, check=check)
    assert seen == [(CONTENT, False)]
    assert file.read_bytes() == CONTENT
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/cut", "`{url}` must give 10,007 bytes, but gave 10,000 instead."),
        (
            "/missing",
            "`{url}` must be an address that can be downloaded, but gave: HTTP Error 404:",
        ),
    ],
)
def test_partial_or_failed_download_leaves_nothing(
    address: str, tmp_path: Path, path: str, message: str
) -> None:
    url = address + path
    with pytest.raises(DataError) as caught:
        download(url, tmp_path / "file", check=lambda partial: None)
    assert str(caught.value).startswith(message.format(url=url))
    assert not list(tmp_path.iterdir())


def test_no_address_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download("de-en.tgz", tmp_path / "file", check=lambda partial: None)
    assert str(caught.value) == (
        "`de-en.tgz` must be an address that can be downloaded, but gave: unknown url type: "
        f"'de-en.tgz'. Download the file from elsewhere and put it at {tmp_path}/file."
    )


def test_archive_is_downloaded_once_and_only_whole(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pairs = write_archive(tmp_path / "original.tgz", num_train=30, num_test=1)
    whole = (tmp_path / "original.tgz").read_bytes()
    archive, dest = tmp_path / "de-en.tgz", tmp_path / "text"
    command = ["iwslt14", "--archive", str(archive), "--destdir", str(dest), "--workers", "1"]
    command += ["--pairs", *map(str, pairs), "--url", f"{address}/unknown-length"]
    monkeypatch.setattr(Handler, "content", whole[:-100])  # an honest server, a file cut short
    assert cli.main(command) == 2
    assert "must be a whole .tgz archive" in capsys.readouterr().err
    assert not archive.exists() and not dest.exists()
    monkeypatch.setattr(Handler, "content", whole)
    assert cli.main(command) == 0
    assert archive.read_bytes() == whole
    monkeypatch.setattr(Handler, "content", b"never asked again")
    assert cli.main([*command, "--force"]) == 0
