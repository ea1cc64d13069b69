"""What outlives a reload and the server, in a real browser."""

import socket
import time
from contextlib import closing, contextmanager

import pytest

from facemogle.picture_files import read_settings
from facemogle.ui import handlers, layout
from facemogle.ui.provider import PipelineProvider
from tests.browser.actions import (
    EXAMPLES,
    face_address,
    face_changes,
    file_of,
    generate,
    open_advanced,
    said,
    set_number,
)


def reopened(page) -> None:
    """Once the page has its run back."""
    page.wait_for_selector(".checkpoint.ready")
    page.wait_for_selector("#history button")
    page.wait_for_selector("#face img")


def test_a_reload_loses_no_face(page, app):
    set_number(page, "num-images", 2)
    generate(page)
    face = face_changes(page, None)
    experts, picture = said(page), file_of(page, face).getvalue()
    set_number(page, "num-images", 1)
    set_number(page, "seed", 21)
    generate(page)
    last = file_of(page, face_changes(page, face)).getvalue()
    page.wait_for_selector("#kept-runs >> text=The last 2 runs are kept")
    runs = len(app.received)

    page.reload()
    reopened(page)
    assert file_of(page, face_address(page)).getvalue() == last
    assert page.locator("#history button").count() == 2
    page.locator("#history button").nth(0).click()
    page.wait_for_selector("#variations button:nth-of-type(2)")
    assert file_of(page, face_changes(page, face_address(page) if face_address(page) != face else None)).getvalue()
    page.wait_for_function("document.querySelector('#seed input').value == '7'")
    assert file_of(page, face_address(page)).getvalue() == picture
    assert len(app.received) == runs  # all of it without the model

    page.get_by_role("tab", name="Experts").click()
    page.locator("#gating").get_by_role("button", name="Make it again, and look").click()
    assert said(page) == experts
    assert file_of(page, face_address(page)).getvalue() == picture


def test_what_is_kept_can_be_forgotten(page, monkeypatch):
    """At once, while the server still makes up what the page is to show of the run."""
    show, ends = handlers.show, []

    def late(provider, parser, visit, *others):
        views = show(provider, parser, visit, *others)
        time.sleep(1.0 if visit.runs else 0)
        ends.append(len(visit.runs))
        return views

    monkeypatch.setattr(handlers, "show", late)
    generate(page)
    page.wait_for_selector("#kept-runs >> text=The last run is kept")
    page.get_by_role("button", name="Forget them").click()
    for _ in range(50):
        page.wait_for_timeout(100)
        if ends[-1:] == [0]:
            break
    assert ends == [1, 0]
    page.wait_for_selector("#history button", state="detached")
    page.wait_for_selector("#face img", state="detached")
    assert page.locator("#kept-runs p").is_hidden()
    page.reload()
    page.wait_for_selector(".checkpoint.ready")
    page.wait_for_timeout(1500)
    assert page.locator("#face img").count() == page.locator("#history button").count() == 0


def test_no_more_is_kept_than_the_visit_holds(page):
    set_number(page, "num-images", 1)
    generate(page)
    page.wait_for_selector("#kept-runs >> text=The last run is kept")
    page.evaluate(
        """() => new Promise((done) => {
            const request = indexedDB.open("facemogle-runs-tiny");
            request.onsuccess = () => {
                const store = request.result.transaction("runs", "readwrite").objectStore("runs");
                store.getAll().onsuccess = ({ target }) => {
                    for (let i = 0; i < 20; i++) store.add(target.result[0]);
                };
                store.transaction.oncomplete = () => { request.result.close(); done(); };
            };
        })"""
    )
    set_number(page, "seed", 8)
    generate(page)
    page.wait_for_selector("#kept-runs >> text=The last 8 runs are kept")


def free_port() -> int:
    """One that no other server takes while this one is away: Gradio's own look for theirs from 7860 on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(pipeline, port):
    provider = PipelineProvider("tiny: random weights", lambda: pipeline, checkpoint="tiny")

    def in_no_hurry(generate):
        def paced(*values):
            for update in generate(*values):
                time.sleep(0.2)
                yield update

        return paced

    blocks = layout.build(provider, EXAMPLES, on_gpu=in_no_hurry)
    _, url, _ = blocks.launch(prevent_thread_lock=True, quiet=True, server_port=port, **layout.launch_options())
    with closing(blocks):
        yield url


@pytest.mark.parametrize("under_way", ["nothing", "a run", "a study"])
def test_a_server_that_goes_is_missed_and_one_that_comes_back_is_met(browser, pipeline, under_way):
    pipeline.register_to_config(num_inference_steps=2)
    port = free_port()
    with closing(browser.new_context()) as context:
        page = context.new_page()
        with served(pipeline, port) as url:
            page.goto(url)
            page.wait_for_selector(".checkpoint.ready")
            generate(page)
            picture = file_of(page, face_changes(page, None)).getvalue()
            page.wait_for_selector("#kept-runs >> text=The last run is kept")
            page.wait_for_function("document.querySelector('#connection .lost').hidden")
            if under_way == "a run":
                open_advanced(page)
                set_number(page, "steps", 50)
                page.click("#generate")
                page.wait_for_selector("#status >> text=Step")
            elif under_way == "a study":
                page.get_by_role("tab", name="Experts").click()
                page.click("#without-begin")
                page.wait_for_selector("#status >> text=Without")
        page.wait_for_selector("#connection .lost", state="visible")
        said = page.locator("#status").inner_text()
        assert said.startswith("Made from" if under_way == "nothing" else "Broken off: the server went away.")
        assert page.locator("#status progress").count() == 0 and page.locator("#cancel").is_hidden()
        assert page.eval_on_selector("#generate", "button => button.inert")
        page.locator("#prompt textarea").fill("written while it was away")
        with served(pipeline, port):
            page.wait_for_selector("#connection .lost", state="hidden", timeout=20_000)
            reopened(page)
            assert file_of(page, face_address(page)).getvalue() == picture
            page.wait_for_function("document.querySelector('#prompt textarea')?.value == 'written while it was away'")
            assert page.locator("#status").inner_text() == layout.HINT
            if under_way == "a run":
                open_advanced(page)
                set_number(page, "steps", 2)
            set_number(page, "seed", 31)
            face = face_address(page)
            generate(page)
            assert read_settings(file_of(page, face_changes(page, face))).seed == 31
