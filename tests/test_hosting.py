"""What those who host the page rely on: its headers, its hosts, its health, its log, and `--check`."""

import logging

import httpx
import pytest

import app
from facemogle.templates import template_face
from facemogle.ui import layout
from facemogle.ui.check import check
from facemogle.ui.examples import load_examples
from facemogle.ui.guard import LOOPBACK
from facemogle.ui.health import health_route
from facemogle.ui.provider import PipelineProvider
from facemogle.ui.temp_folder import TempFolder


@pytest.fixture
def served(pipeline, tmp_path):
    """(page, provider, http) of a page with the tiny pipeline."""
    provider = PipelineProvider("tiny", lambda: pipeline, checkpoint="tiny")
    page, folder = layout.build(provider, load_examples(app.EXAMPLES)), TempFolder(tmp_path)
    (folder.path / "face.png").write_bytes(bytes(1000))
    options = layout.launch_options(routes=[health_route(provider, folder)])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **options)
    with httpx.Client(base_url=url, timeout=20) as http:
        yield page, provider, http
    page.close()


def test_every_answer_tells_browsers_what_the_page_may_do(served):
    _, _, http = served
    for path in ("/", "/config", "/health", "/nothing-here"):
        headers = http.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["frame-ancestors"] == "'self'" and policy["object-src"] == "'none'"
        assert "http" not in headers["content-security-policy"] and "*" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "SAMEORIGIN" and headers["x-content-type-options"] == "nosniff"


def test_a_space_shows_the_page_in_a_frame(pipeline, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/faces")
    page = layout.build(PipelineProvider("tiny", lambda: pipeline), [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options(hosts=None))
    headers = httpx.get(url, headers={"host": "someone-faces.hf.space"}).headers
    page.close()
    assert "x-frame-options" not in headers and "frame-ancestors" not in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:80", 200), ("LOCALHOST:7860", 200), ("[::1]:7860", 200), ("evil.example:7860", 421),
     ("127.0.0.1.evil.example", 421), ("", 421)],
)  # fmt: skip
def test_a_host_that_was_not_asked_for_is_refused(served, host, status):
    answer = served[2].get("/config", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert "--host" in answer.text and answer.headers["content-security-policy"]


def test_a_host_that_was_asked_for_is_served(monkeypatch):
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert app.asked_hosts(None, share=False) == app.asked_hosts("localhost", share=False) == LOOPBACK
    assert app.asked_hosts("0.0.0.0", share=False) is app.asked_hosts(None, share=True) is None
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert app.asked_hosts(None, share=False) is None


def test_health_tells_of_model_queue_sessions_disk_and_memory(served):
    page, provider, http = served
    provider.get()
    page.state_holder["someone"]
    answer = http.get("/health")
    told = answer.json()
    assert (answer.status_code, told["ready"], told["model"], told["checkpoint"]) == (200, True, "ready", "tiny")
    assert set(told["queue"]) == {"running", "waiting"} and told["sessions"] == 1
    assert told["disk"]["visitors"] == 1000
    assert told["disk"]["free"] > 0 and told["memory"]["process"] > 1e8 and told["memory"]["free"] > 0


def test_health_is_bad_without_a_model(tmp_path):
    provider = PipelineProvider("nimi", lambda: (_ for _ in ()).throw(ValueError("no weights")), checkpoint="nimi")
    page = layout.build(provider, [])
    routes = [health_route(provider, TempFolder(tmp_path))]
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options(routes=routes))
    answer = httpx.get(f"{url}health")
    page.close()
    assert answer.status_code == 503 and answer.json()["model"] == "failed"


def test_check_says_what_is_well_and_what_is_missing(served, capsys, caplog):
    page, provider, _ = served
    with caplog.at_level(logging.INFO, "facemogle.runs"):
        assert check(page, provider, template_face(size=64)) == 1  # the tiny pipeline has no parser
    said = capsys.readouterr()
    assert said.out.splitlines() == ["well: weights of tiny", "well: a face in two steps"]
    assert said.err.startswith("failed: its label map, read by the parser: Photo: No parser is here")
    assert [record.getMessage().rsplit(",", 1)[0] for record in caplog.records] == ["made: 1 picture(s), 2 steps"]


def test_check_names_weights_that_are_missing(capsys):
    provider = PipelineProvider("nimi", lambda: (_ for _ in ()).throw(ValueError("get them first")), checkpoint="nimi")
    assert check(None, provider, template_face(size=64)) == 1
    assert capsys.readouterr().err == "failed: weights of nimi: get them first\n"


def test_a_line_for_every_run_tells_nothing_of_what_was_said(pipeline, caplog):
    from facemogle.ui.run import Request, stream

    pages = [Request("a secret prompt", None, 7, 2), Request("a secret prompt", None, 7, 2, expert_scale={"hare": 0.0})]
    with caplog.at_level(logging.INFO, "facemogle.runs"):
        assert list(stream(pipeline, pages[0], checkpoint="tiny"))
        with pytest.raises(ValueError, match="hare"):
            list(stream(pipeline, pages[1], checkpoint="tiny"))
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == ["made", "ValueError"] and "secret" not in "".join(lines)


def test_sessions_are_bounded(pipeline, monkeypatch):
    monkeypatch.setattr(layout, "MAX_SESSIONS", 5)
    page = layout.build(PipelineProvider("tiny", lambda: pipeline), [])
    page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    page.close()
    for number in range(9):
        page.state_holder[str(number)]
    assert list(page.state_holder.session_data) == [str(number) for number in range(4, 9)]
