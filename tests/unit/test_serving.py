"""The page and the API of a served model, asked over a real connection, also as nobody should."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import socket
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expkit.cli import serve
from expkit.errors import ConfigError
from expkit.preprocess import TableInput
from expkit.serving.about import starting_row
from expkit.serving.limits import Hosts
from expkit.serving.page import assets
from expkit.serving.server import listen
from tests.unit.serving import COLOUR, FACTS, Client, images, png, served, table

MOST_BYTES, MOST_ITEMS = 100_000, 5


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with served(images(), bytes=MOST_BYTES, items=MOST_ITEMS) as made:
        yield made


@pytest.fixture(scope="module")
def rows() -> Iterator[Client]:
    with served(table(), items=MOST_ITEMS) as made:
        yield made


def labels(answer: dict) -> list[str]:
    return [one["label"] for item in answer["items"] for one in item.get("answers", ())]


def heights(answer: dict) -> list[float]:
    return [one["values"]["height"] for item in answer["items"] for one in item.get("answers", ())]


# The page


def test_the_page_and_all_it_asks_for_come_from_here(client: Client) -> None:
    status, headers, page = client("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    wanted = re.findall(rb'(?:href|src)="(/[^"]*)"', page)
    for _, (content, _) in assets().items():
        wanted += re.findall(rb'from "(/[^"]+)"', content)
        assert set(re.findall(rb"https?://[^\"' ]+", content)) <= {b"http://www.w3.org/2000/svg"}
        assert not re.search(rb"style=\"|onclick=|<script>", content), "the page's own policy would forbid it"
    assert len(wanted) > 5
    assert {client("GET", path.decode())[0] for path in wanted} == {200}


@pytest.mark.parametrize("path", ["/", "/api/model", "/health", "/nothing", "/api/predict"])
def test_every_answer_forbids_what_the_page_does_not_need(client: Client, path: str) -> None:
    _, headers, _ = client("GET", path)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_model_is_described(client: Client, rows: Client) -> None:
    about = json.loads(client("GET", "/api/model")[2])
    assert (about["name"], about["run"]) == ("tiny", FACTS["run"])
    assert about["data"]["stand_in_for"] == "mnist"
    assert about["input"] == {"kind": "image", "height": 28, "width": 28, "channels": 1, "bright_on_dark": True}
    assert about["target"]["labels"] == ["left", "right"]
    assert (about["limits"]["bytes"], about["limits"]["items"]) == (MOST_BYTES, MOST_ITEMS)
    about = json.loads(rows("GET", "/api/model")[2])
    assert about["input"]["columns"] == [{"name": "a", "start": 2.0}, {"name": "b", "start": 4.0}]
    assert about["target"] == {"kind": "values", "names": ["height"], "unit": "mm"}
    assert about["examples"] == [[1.0, 2.0], [3.0, 6.0]]


def test_a_form_starts_from_training_means_and_from_examples_where_there_are_none() -> None:
    rows = np.array([[1.0, 20.0], [3.0, 40.0]])
    means = TableInput(("a", "b"), (2.5, 10.0), (4.0, 9.0))
    least = TableInput(("a", "b"), (1.0, 10.0), (4.0, 90.0))  # min-max: what is subtracted is the minimum
    assert starting_row(means, rows) == [2.5, 10.0]
    assert starting_row(least, rows) == [2.0, 30.0]
    assert starting_row(least, None) == [1.0, 10.0]


def test_the_openapi_document_names_what_there_is(client: Client, rows: Client) -> None:
    for one, key in ((client, "images"), (rows, "rows")):
        document = json.loads(one("GET", "/openapi.json")[2])
        assert set(document["paths"]) == {"/health", "/api/model", "/api/predict"}
        content = document["paths"]["/api/predict"]["post"]["requestBody"]["content"]
        assert key in content["application/json"]["schema"]["properties"]


# Answers


def test_an_image_is_answered_in_any_form(client: Client) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(png("right"))))
    encoded = base64.b64encode(png("right")).decode()
    given = {"images": [encoded, f"data:image/png;base64,{encoded}", pixels.tolist()]}
    answers = [
        client.predict(png("right")),
        client.predict(png("right", (280, 200), "JPEG"), "image/jpeg"),
        client.predict(png("right"), "application/octet-stream"),
        client.files(("a.png", png("right")), ("b.png", png("right"))),
        client.json(given),
    ]
    assert [status for status, _ in answers] == [200] * 5
    assert [labels(answer) for _, answer in answers] == [["right"]] * 3 + [["right"] * 2, ["right"] * 3]
    item = answers[0][1]["items"][0]["answers"][0]
    assert item["probabilities"] == pytest.approx({"left": 1 - item["probability"], "right": item["probability"]})
    assert answers[4][1]["items"][0]["answers"] == answers[0][1]["items"][0]["answers"]


def test_bad_files_among_good_ones_are_named(client: Client) -> None:
    blank = io.BytesIO()
    Image.new("L", (28, 28), 7).save(blank, "PNG")
    files = [
        ("ok.png", png()),
        ("no.png", b"text"),
        ("cut.png", png()[:60]),
        ("", b""),
        ("blank.png", blank.getvalue()),
    ]
    status, answer = client.files(*files)
    assert (status, labels(answer)) == (200, ["left"])
    assert [item["name"] for item in answer["items"]] == ["ok.png", "no.png", "cut.png", "f", "blank.png"]
    errors = [item.get("error", "") for item in answer["items"]]
    assert errors[1].startswith("not a readable image: it is none of the formats PNG, JPEG, ")
    assert errors[2].startswith("not a readable image (")
    assert errors[3:] == ["it is empty", "all its pixels are the same, so there is nothing to see"]


def test_what_the_network_sees_is_shown_when_asked_for(client: Client) -> None:
    dark_on_bright = io.BytesIO()
    Image.fromarray(255 - np.asarray(Image.open(io.BytesIO(png(size=(280, 280)))))).save(dark_on_bright, "PNG")
    _, answer = client.predict(dark_on_bright.getvalue(), path="/api/predict?show=input")
    (seen,) = answer["items"][0]["seen"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(seen.partition(",")[2]))))
    assert pixels.shape == (28, 28)
    assert (pixels[0, 0], pixels[10, 10]) == (0, 255), "inverted, as the training images were"
    assert "seen" not in client.predict(png())[1]["items"][0]


def test_colour_images_are_answered() -> None:
    with served(images(COLOUR, lambda x: x.mean(axis=(2, 3))[:, :2])) as client:
        pixels = np.zeros((8, 6, 3), dtype=np.uint8)
        pixels[1:, :, 1] = 200
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        status, answer = client.predict(file.getvalue(), path="/api/predict?show=input")
        assert (status, labels(answer)) == (200, ["right"])
        assert answer["items"][0]["seen"][0].startswith("data:image/png;base64,")
        assert labels(client.json({"images": [pixels.tolist()]})[1]) == ["right"]


def test_rows_are_answered_in_any_form(rows: Client) -> None:
    given = {"rows": [{"b": 2, "a": 1}, [1, 2.0]]}
    assert heights(rows.json(given)[1]) == [108, 108]
    status, answer = rows.predict("b,a\n2,1\n10,0\n", "text/csv")
    assert (status, heights(answer)) == (200, [108, 130])
    assert answer["items"][0]["answers"][0]["unit"] == "mm"
    status, answer = rows.files(("x.csv", b"1,2\n"), ("y.csv", b"1,2,3\n"), ("z.csv", b"a,c\n1,2\n"))
    assert heights(answer) == [108]
    errors = [item.get("error", "") for item in answer["items"]]
    assert errors[1:] == ["line 1 has 3 values; expected 2", "no column b; expected a, b"]


def test_bad_rows_among_good_ones_are_named(rows: Client) -> None:
    given = [[1], {"a": 1, "bb": 2}, {"a": 1}, [True, 1], {"a": "1", "b": 2}]
    status, answer = rows.json({"rows": given})
    assert status == 422, "nothing could be answered"
    assert [(item["name"], item["error"]) for item in answer["items"]] == [
        ("row 1", "1 values; expected 2: a, b"),
        ("row 2", "no column is called 'bb'. Did you mean 'b'? Columns: a, b"),
        ("row 3", "no value for b"),
        ("row 4", "column a: true is not a finite number"),
        ("row 5", 'column a: "1" is not a finite number'),
    ]
    status, answer = rows.json('{"rows": [[1, 2], [1e999, 2], null, [1%s, 2]]}' % ("0" * 400))
    assert (status, heights(answer)) == (200, [108])
    assert [item.get("error", "")[:10] for item in answer["items"][1:]] == ["column a: ", "a null; ex", "column a: "]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{", 400, "is not JSON"),
        ("[" * 50_000, 400, "is not JSON"),
        (b"\xff\xfe{}", 400, "is not JSON"),
        ('{"rows": [[NaN, 1]]}', 400, "NaN is not a number in JSON"),
        ("[1]", 400, 'is a JSON list; expected {"rows": [...]}'),
        ({"row": []}, 422, "Did you mean 'rows'?"),
        ({"images": []}, 422, "takes rows, not images"),
        ({"rows": 1}, 422, "is a number; expected a list"),
        ({"rows": []}, 422, "nothing to answer"),
        ({"rows": [[1, 2]] * 6}, 413, "a request may have 5"),
    ],
)
def test_json_that_is_not_understood_says_what_would_be(rows: Client, body: object, status: int, words: str) -> None:
    found, answer = rows.json(body)
    assert found == status
    assert words in answer["error"]


def test_pixels_that_are_none_are_refused(client: Client) -> None:
    good = np.asarray(Image.open(io.BytesIO(png()))).tolist()
    wrong = [[[1.5] * 28] * 28, [[300] * 28] * 28, [[1] * 27] * 28, [[0], *good[1:]], 7]
    status, answer = client.json({"images": wrong})
    assert status == 422
    assert all(item["error"] for item in answer["items"])
    status, answer = client.json({"images": ["not base64!", [good, good]]})
    assert [item["error"][:10] for item in answer["items"]] == ["not base64", "2 images i"]


def test_a_body_of_another_kind_names_the_kinds(client: Client, rows: Client) -> None:
    assert client.predict(b"1,2", "text/csv")[0] == 415
    status, answer = rows.predict(png())
    assert status == 415
    assert answer["error"] == (
        "the body's Content-Type is 'image/png'; this model takes text/csv, multipart/form-data or application/json."
    )
    assert client.predict(b"", "multipart/form-data")[0] == 400
    assert client.predict(b"--xx\r\n\r\n", "multipart/form-data; boundary=xx")[0] == 400


def test_a_model_that_fails_or_answers_nan_is_an_error_in_words() -> None:
    def outputs(inputs: np.ndarray) -> np.ndarray:
        if inputs[0, 0, 0, 0] > 0:
            raise RuntimeError("no such kernel\nlong story")
        return np.full((len(inputs), 2), np.nan)

    with served(images(outputs=outputs)) as client:
        assert client.predict(png())[0] == 500
        assert "NaN or infinity" in client.predict(png())[1]["error"]
        bright = np.asarray(Image.open(io.BytesIO(png()))) // 2 + 9
        status, answer = client.json({"images": [bright.tolist()]})
        assert (status, answer["error"]) == (500, "the model failed: RuntimeError: no such kernel")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands use curl")
def test_the_commands_of_the_documentation_are_answered(client: Client, rows: Client, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.M | re.S)
    commands = [line for block in blocks for line in re.split(r"\n(?! )", block.strip()) if "curl" in line]
    for name in ("digit.png", "one.png", "two.png"):
        (tmp_path / name).write_bytes(png())
    (tmp_path / "rows.csv").write_text("b,a\n2,1\n")
    assert len(commands) == 9
    for command in commands:
        asked = rows if "rows" in command else client
        script = command.replace("127.0.0.1:8000", f"127.0.0.1:{asked.port}").replace(
            "curl ", "curl -sS --noproxy '*' "
        )
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True)
        answer = json.loads(done.stdout)
        assert "error" not in answer
        assert ("predict" in command) == ("items" in answer)
        assert all("answers" in item for item in answer.get("items", ()))


# The command line


def test_a_taken_port_is_named_before_a_model_is_looked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port} on 127\.0\.0\.1 is taken.* Try --port \d+"):
            serve.main(["last", "--port", str(port)])


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--port", "0", "from 1 to 65535"),
        ("--max-bytes", "10", "from 64K to 1G; write 16M"),
        ("--max-bytes", "many", "is not a size"),
        ("--max-items", "0", "is not a whole number from 1"),
        ("--timeout", "nan", "is not a number of seconds from 0.1"),
        ("--queue", "-1", "whole number"),
    ],
)
def test_an_option_that_cannot_be_is_a_usage_error(
    option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main(["last", f"{option}={value}"])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


# Those who should not be answered


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "192.0.2.1", "a@127.0.0.1"]
)
def test_a_name_that_is_not_ours_is_refused(client: Client, host: str) -> None:
    status, _, content = client("GET", "/api/model", headers={"Host": host})
    assert status == 421
    assert b"is not called" in content


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8000", "proxy.example", "127.0.0.9"]
)
def test_names_of_this_machine_are_answered(client: Client, host: str) -> None:
    assert client("GET", "/health", headers={"Host": host})[0] == 200


def test_where_all_addresses_are_listened_on_all_addresses_will_do() -> None:
    hosts = Hosts("0.0.0.0")
    assert all(hosts.allow(host) for host in ("192.0.2.1:8000", "[2001:db8::1]", "localhost", socket.gethostname()))
    assert not hosts.allow("evil.example")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_cannot_ask(client: Client, headers: dict[str, str]) -> None:
    status, answer = client.predict(png(), **headers)
    assert status == 403
    assert "another site" in answer["error"]


def test_the_page_itself_can_ask(client: Client) -> None:
    headers = {"Origin": f"http://127.0.0.1:{client.port}", "Sec-Fetch-Site": "same-origin"}
    assert client.predict(png(), **headers)[0] == 200


@pytest.mark.parametrize(("method", "path"), [("OPTIONS", "/api/predict"), ("GET", "/api/predict"), ("POST", "/")])
def test_methods_that_there_are_not(client: Client, method: str, path: str) -> None:
    status, _, content = client(method, path)
    assert status == 405
    assert method in json.loads(content)["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/main.js/../app.py",
        "/__init__.py",
        "/docs",
        "/%00",
    ],
)
def test_no_path_leads_to_another_file(client: Client, path: str) -> None:
    status, _, content = client("GET", path)
    assert status == 404
    assert "there is nothing at" in json.loads(content)["error"]


def test_a_files_name_is_only_said_back(client: Client) -> None:
    _, answer = client.files(("../../etc/passwd", b"x"), ("<b>" + "n" * 400, png()))
    assert [item["name"] for item in answer["items"]] == ["../../etc/passwd", ("<b>" + "n" * 400)[:255]]
    assert "not a readable image" in answer["items"][0]["error"]


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client: Client) -> None:
    status, answer = client.predict(b"x" * (MOST_BYTES + 1))
    assert (status, answer["error"][:17]) == (413, "100,001 bytes are")
    chunks = (b"x" * 60_000 for _ in range(2))
    status, _, content = client("POST", "/api/predict", chunks, {"Content-Type": "image/png"}, encode_chunked=True)
    assert status == 413
    assert b"--max-bytes" in content
    assert client.predict(png())[0] == 200


def test_a_file_for_which_another_program_would_be_started_is_not_opened(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "check_call", lambda *_: pytest.fail("Ghostscript was called"))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n(/etc/passwd) run\n%%EOF\n"
    status, answer = client.predict(script, "image/eps")
    assert status == 422
    assert "none of the formats" in answer["items"][0]["error"]


def test_a_small_file_of_many_pixels_is_refused(client: Client) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 90_000))
        + chunk(b"IEND", b"")
    )
    status, answer = client.predict(bomb)
    assert status == 422
    assert "9000 x 9000 pixels" in answer["items"][0]["error"]


def test_too_many_files_or_rows_are_refused(client: Client, rows: Client) -> None:
    assert client.files(*[("a.png", png())] * (MOST_ITEMS + 1))[0] in (400, 413)
    status, answer = rows.predict("1,2\n" * (MOST_ITEMS + 1), "text/csv")
    assert (status, answer["error"][:20]) == (413, "a request may have 5")


def raw(client: Client, *parts: bytes) -> bytes:
    """What comes back for bytes that no client would send, until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_what_is_not_http_gets_an_answer_or_an_end(client: Client) -> None:
    assert raw(client, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert raw(client, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000).startswith(b"HTTP/1.1 400")
    assert raw(client, b"POST /api/predict HTTP/1.0\r\nContent-Length: -1\r\n\r\n").startswith(b"HTTP/1.1 4")
    assert b"421" in raw(client, b"GET / HTTP/1.0\r\n\r\n"), "without a Host"


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_head() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP, "what asyncio looks at before it turns Nagle's algorithm off"


def test_slow_clients_are_not_waited_for() -> None:
    with served(images(), seconds=0.2, head_seconds=0.2) as client:
        assert raw(client) == b""
        assert raw(client, b"GET / HTTP/1.1\r\nHost: local") == b""
        head = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99\r\n\r\n"
        answer = raw(client, head, b"part")
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"--timeout" in answer


def test_a_queue_ends_and_so_does_waiting() -> None:
    going, begun = threading.Event(), threading.Event()

    def outputs(inputs: np.ndarray) -> np.ndarray:
        begun.set()
        going.wait(20)
        return np.zeros((len(inputs), 2))

    answers: list[tuple[int, dict]] = []
    with served(images(outputs=outputs), seconds=0.3, waiting=1) as client:
        asking = [threading.Thread(target=lambda: answers.append(client.predict(png()))) for _ in range(3)]
        asking[0].start()
        assert begun.wait(20)
        for thread in asking[1:]:
            thread.start()
        for thread in asking:
            thread.join()
        assert sorted(status for status, _ in answers) == [503, 504, 504]
        assert client("GET", "/health")[0] == 200, "what needs no model is answered meanwhile"
        going.set()
        assert any(client.predict(png())[0] == 200 for _ in range(500)), "nor is the model lost"
    assert "--timeout" in next(answer["error"] for status, answer in answers if status == 504)
    assert "the model is busy" in next(answer["error"] for status, answer in answers if status == 503)
