"""The page of an evaluation, opened as a file, at two widths and in the dark."""

import numpy as np

from facemogle.evaluation.label_agreement import by_class, label_metrics
from facemogle.evaluation.measuring import evaluate
from facemogle.evaluation.metric import Measured, Metric
from facemogle.evaluation.page import page
from facemogle.evaluation.readings import Reader
from facemogle.labels import from_colours
from facemogle.weight_files import CheckpointError
from tests.squares import squares


def absent(study, features):
    raise CheckpointError("inception needs <inception.pt> & a place.")


def test_the_page_stands_by_itself_and_fits(browser, tmp_path):
    study = squares(tmp_path)
    reader = Reader(lambda: lambda picture: from_colours(picture)[0], "colours", "1", None)
    fid = Metric("fid", "FID", "lower", frozenset({"real"}), (), lambda study, features: Measured(12.5))
    kid = Metric("kid", "KID", "lower", frozenset({"real"}), (), absent)
    evaluation = evaluate(
        study, lambda study: [*label_metrics(reader), fid, kid], None, by_class=lambda study: by_class(reader, study)
    )
    notes = ["The results are <PNG> & the real pictures JPEG."]
    html = page(evaluation, title="a <folder>", notes=notes, about={"seconds": 1.5}, parse=reader.parse)
    (tmp_path / "evaluation.html").write_text(html)
    for width, scheme in ((1440, "light"), (400, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        tab = context.new_page()
        problems, asked = [], []
        tab.on("console", lambda message, problems=problems: problems.append(message.text))
        tab.on("pageerror", lambda error, problems=problems: problems.append(str(error)))
        tab.on("request", lambda request, asked=asked: asked.append(request.url))
        tab.goto(f"file://{tmp_path / 'evaluation.html'}")
        assert not problems and [url[:5] for url in asked if not url.startswith("data:")] == ["file:"]
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.title() == "a <folder>" and "<PNG> & the" in tab.text_content(".notes")
        assert tab.locator(".cards strong").first.text_content() == "12.50"
        tab.get_by_text("Left out").click()
        assert tab.get_by_text("inception needs <inception.pt> & a place.").is_visible()
        shown = tab.locator("#classes .bar .value").all_text_contents()
        assert shown == sorted(shown, key=float, reverse=True) and len(shown) == 7
        assert tab.locator("#groups .bar").count() == 4
        worst = [float(value) for value in tab.locator(".ends > div:first-child b").all_text_contents()]
        assert worst == sorted(worst) and worst[0] == float(
            np.round(min(evaluation.measured()["accuracy"].each.values()), 2)
        )
        assert tab.locator(".case img").evaluate_all("images => images.every(image => image.naturalWidth > 0)")
        context.close()
