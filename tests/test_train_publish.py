import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.tiny_training import run
from train.publish import main

NAME = "someone/weights"


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of the Hub for an upload; its server keeps repositories and files by path."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        server = self.server
        if self.headers.get("authorization") != "Bearer hf_right":
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if self.path == "/api/repos/create":
            server.repositories.add("{organization}/{name}".format(**json.loads(body)))
            return self.answer(200, {"url": f"{server.url}/{NAME}"})
        if "/preupload/" in self.path:
            files = [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self.answer(200, {"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    server.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.answer(200, {"commitUrl": f"{server.url}/{NAME}/commit/1", "commitOid": "1"})
        return self.answer(200, {})  # the check of a model card

    def answer(self, status, content):
        content = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.url, server.repositories, server.files = f"http://127.0.0.1:{server.server_port}", set(), {}
        threading.Thread(target=server.serve_forever).start()
        try:
            yield server
        finally:
            server.shutdown()


@pytest.fixture
def finished(tmp_path):
    run(tmp_path, steps=4)
    return tmp_path


def push(url, finished, monkeypatch, token):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", token)
    return main([str(finished), "--push-to-hub", NAME])


def test_what_a_run_published_goes_to_the_hub(finished, monkeypatch, capsys):
    with hub() as server:
        assert push(server.url, finished, monkeypatch, "hf_right") == 0
    weights = finished / "weights"
    written = {path.relative_to(weights).as_posix(): path for path in weights.rglob("*") if path.is_file()}
    assert server.repositories == {NAME}
    assert {name: path.read_bytes() for name, path in written.items()} == server.files
    assert {"README.md", "mogle.pt", "mogle/config.json"} < set(written)
    assert capsys.readouterr().out.splitlines()[-1] == f"https://huggingface.co/{NAME}"


def test_what_the_hub_refuses_is_said_and_the_weights_stay(finished, monkeypatch, capsys):
    with hub() as server:
        assert push(server.url, finished, monkeypatch, "hf_wrong") == 2
    assert "Invalid" in capsys.readouterr().err and not server.files
    assert push(server.url, finished, monkeypatch, "hf_right") == 2  # there is no server any more
    assert f"weights was not uploaded to {NAME}. Is HF_TOKEN set?" in capsys.readouterr().err
    assert (finished / "weights" / "mogle.pt").exists()
