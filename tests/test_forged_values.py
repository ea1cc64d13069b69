"""What programs may send in place of what they should: refused in words that name the field, before the model runs."""

import json
import re

import httpx
import pytest

from facemogle.ui import handlers, layout
from facemogle.ui.provider import PipelineProvider

GENERATE = {
    "Label map": None, "Prompt": "a face", "Seed": 7, "Steps": 1, "Guidance": None, "Condition scale": 1,
    "Experts": None, "Classes": "",
}  # fmt: skip
NAN, INFINITY = "<nan>", "<infinity>"
FORGED = [NAN, INFINITY, ["a"], {"a": 1}, 1e300, -1, True, [[[[]]]]]
FORGED_TOO = {"Seed": ["abc", None], "Condition scale": [None]}  # which others take
SCALES = [{"hair": NAN}, {"hair": 1e300}, {"hair": -1}, {"hair": None}, {"hair": "x"}, {"hare": 1}]
PASSWORDS = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
SENT = ["../x", 5, None, ["a"], {"file": 5}, {"file": "", "name": ""}, {"value": "../../etc"}, NAN, "x" * 10**5]


@pytest.fixture
def served(pipeline, monkeypatch):
    """(http, runs) of a page with the tiny pipeline; `runs` grows with each that begins."""
    runs, stream = [], handlers.stream
    monkeypatch.setattr(handlers, "stream", lambda *given, **named: runs.append(given) or stream(*given, **named))
    page = layout.build(PipelineProvider("tiny", lambda: pipeline), [])
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **layout.launch_options())
    with httpx.Client(base_url=f"{url}gradio_api", timeout=30) as http:
        yield http, runs
    page.close()


def encoded(value: object) -> bytes:
    return json.dumps(value).replace(f'"{NAN}"', "NaN").replace(f'"{INFINITY}"', "Infinity").encode()


def post(http: httpx.Client, path: str, body: dict) -> httpx.Response:
    return http.post(path, content=encoded(body), headers={"content-type": "application/json"})


def call(http: httpx.Client, name: str, data: list) -> tuple[str, str]:
    """-> how it ended, "complete" or "error", and what was said."""
    event = post(http, f"/call/{name}", {"data": data}).json()["event_id"]
    with http.stream("GET", f"/call/{name}/{event}") as response:
        lines = [line for line in response.iter_lines() if line]
    return lines[-2].removeprefix("event: "), str(json.loads(lines[-1].removeprefix("data: ")))


def is_refused(answer: tuple[str, str]) -> bool:
    kind, said = answer
    words = len(re.findall(r"[A-Za-z]{2,}", said)) > 5
    return kind == "error" and words and not re.search(r"/tmp|/home|Traceback|NoneType|object has no", said)


def test_each_field_of_generate_refuses_what_it_is_not(served):
    http, runs = served
    for field in GENERATE:
        for value in [*FORGED, *FORGED_TOO.get(field, ())]:
            answer = call(http, "generate", list((GENERATE | {field: value}).values()))
            assert is_refused(answer) and (field == "Experts" or field in answer[1]), (field, value, answer)
    assert not runs
    assert call(http, "generate", list(GENERATE.values()))[0] == "complete" and runs


def test_factors_that_are_none_and_experts_that_are_not_are_named(served):
    http, runs = served
    for scale in SCALES:
        answer = call(http, "generate", list((GENERATE | {"Experts": scale}).values()))
        assert is_refused(answer) and next(iter(scale)) in answer[1], (scale, answer)
    assert not runs


def test_files_that_were_not_sent_are_refused(served):
    http, _ = served
    generate = [PASSWORDS, *list(GENERATE.values())[1:]]
    forged = {"parse": [[None, False], [PASSWORDS, True], [NAN, True]], "generate": [generate],
              "gating": [[None, 0], [PASSWORDS, 0], [5, NAN]], "cut_out": [[PASSWORDS]], "edit": [[PASSWORDS, ""]],
              "expert_effects": [[None], [PASSWORDS]], "morph": [[PASSWORDS, PASSWORDS]]}  # fmt: skip
    for name, calls in forged.items():
        for data in calls:
            assert is_refused(answer := call(http, name, data)), (name, data, answer)


def test_server_functions_answer_whatever_they_are_sent(served):
    http, _ = served
    config = http.get("/../config").json()
    functions = [(part["id"], name) for part in config["components"] for name in part["props"].get("server_fns") or []]
    assert {"start_from", "open_label_map", "save_label_map", "export_gating"} <= {name for _, name in functions}
    for component, name in functions:
        for data in SENT:
            sent = {"session_hash": "s", "component_id": component, "fn_name": name, "data": data}
            answer = post(http, "/component_server", sent)
            assert answer.status_code == 200 and len(answer.json()["error"]) < 300, (name, data, answer.text)
