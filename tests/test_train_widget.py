"""Training in the reader's browser: the engine's arithmetic, the published labels, what is drawn, and what is said."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import kernel
import numpy as np
import pytest
from test_site import Visit, accessibility_faults, outside_requests, sideways

from pdlib import browser as widget
from pdlib.comparison import STUDENT
from pdlib.labels import Targets
from pdlib.published import Published
from pdlib.specs import Training
from pdlib.store import Store
from pdlib.tables import prediction_interval
from pdlib.training import untrained
from pdlib.training.online_sgd import CompiledLearner

pytestmark = pytest.mark.site

STATIC = kernel.FOLDER.parent / "static"
STUDENTS = widget.students()
LABELS = widget.labels_script(STUDENTS)
CHANCE = 0.54  # 4,096 held-out inputs have a standard error of 0.008
DONE = "document.querySelector('.pd-said')?.textContent.startsWith('Done')"


def page_of(folder: Path, markup: str, script: str | None = None) -> Path:
    """A page with a widget and nothing else of the book, and its script beside it."""
    (folder / widget.SCRIPT).write_text(script or widget.script(kernel.FOLDER), "utf-8")
    style = (STATIC / "book.css").read_text("utf-8")
    body = f"<style>{style}</style><main><h1>t</h1><article>{markup}</article></main><script src=train.js></script>"
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>t</title>"
    (folder / "page.html").write_text(f"<!doctype html><html lang=en data-theme=light>{head}{body}", "utf-8")
    return folder / "page.html"


def with_steps(markup: str, n: int) -> str:
    """The widget of shorter runs, drawn on the same chart."""
    return re.sub(r'"steps":2000000,', f'"steps":{n},', markup)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A page that trains students of the paper's size, for two hundredths of a run."""
    (tmp_path / widget.LABELS_SCRIPT).write_text(LABELS, "utf-8")
    return page_of(tmp_path, with_steps(widget.published_markup(STUDENTS), 100_000))


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A page that trains a small teacher and its students."""
    return page_of(tmp_path, widget.live_markup())


def choose(visit: Visit, **values: object) -> None:
    for name, value in values.items():
        field = visit.page.locator(f"#pd-train-{name}")
        if field.evaluate("e => e.tagName") == "SELECT":
            field.select_option(str(value))
        else:
            field.fill(str(value))


def said(visit: Visit) -> str:
    return str(visit.page.locator(".pd-said").text_content())


def run(visit: Visit, button: str = "Start", **values: object) -> np.ndarray:
    """Train to the end; return what is drawn of it, (step, accuracy)."""
    choose(visit, **values)
    visit.page.evaluate("document.querySelector('.pd-said').textContent = ''")  # it may end before one looks
    visit.page.get_by_role("button", name=button).click()
    visit.page.wait_for_function(DONE, timeout=400_000)
    return drawn(visit)


def drawn(visit: Visit) -> np.ndarray:
    """The last curve as its chart shows it."""
    line = visit.page.locator(".pd-run").last
    chart = line.locator("xpath=..")
    left, right, bottom, top = map(float, chart.get_attribute("data-frame").split())
    most, low, high = map(float, chart.get_attribute("data-range").split())
    x, y = np.array([p.split(",") for p in line.get_attribute("points").split()], float).T
    return np.column_stack(
        [(x - left) / (right - left) * most, low + (bottom - y) / (bottom - top) * (high - low)]
    )


# The kernel


def test_the_bytes_that_browsers_run_are_those_of_the_source(tmp_path: Path) -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("ziglang", reason="the compiler comes with the extra 'site'")
    committed = (kernel.FOLDER / "student.wasm").read_bytes()
    assert kernel.compiled() == committed, "python tests/kernel.py compiles it anew"
    other = tmp_path / "other.c"
    other.write_text(
        (kernel.FOLDER / "student.c").read_text("utf-8").replace("round < 10", "round < 9"), "utf-8"
    )
    assert kernel.compiled(other) != committed  # the control


def test_keys_are_those_of_streams(published: Path, browser: Any) -> None:
    texts = ["", "initial weights, seed 7", "x" * 55, "x" * 56, "ä" * 200]
    with Visit(browser, published) as visit:
        found = visit.page.evaluate("texts => texts.map(t => pdTrain.key(t).map(String))", texts)
    for text, (low, high) in zip(texts, found, strict=True):
        assert hashlib.sha256(text.encode()).hexdigest()[:32] == f"{int(high):016x}{int(low):016x}"


TRAINED = """([task, width, texts, rate, n, labels]) => {
  const k = pdTrain.start(pdTrain.bytes), [first, stream] = texts.map(pdTrain.key);
  new Uint8Array(k.memory.buffer, k.labels(), labels.length).set(labels);
  k.task(...task);
  k.initial(0, width, ...first);
  k.train(0, n, rate, 0, ...stream);
  return [...new Float32Array(k.memory.buffer, k.network(0), k.network_size() / 4)];
}"""


def by_kernel(visit: Visit, spec: Training, labels: np.ndarray, **wrong: int) -> dict[str, np.ndarray]:
    """A network after the kernel's steps, in the shapes of `MLP`."""
    d, width = spec.task.n_inputs, spec.model.width
    data = spec.seed if spec.data_seed is None else spec.data_seed
    stream = json.dumps([spec.task.canonical(), wrong.get("stream", data), "train"], sort_keys=True)
    texts = [f"initial weights, seed {wrong.get('weights', spec.seed)}", stream]
    task = [d, spec.task.support_size]
    packed = np.packbits(labels).tolist()
    numbers = visit.page.evaluate(
        TRAINED, [task, width, texts, spec.optimizer.learning_rate, len(labels), packed]
    )
    flat, columns = np.array(numbers), -(-(d + 1) // 4) * 4
    second, rest = np.split(flat[3 : 3 + 1024].reshape(2, 512), [width], axis=1)[0], flat[1028:]
    first = rest[: width * columns].reshape(width, columns)
    return {"0.weight": first[:, :d], "0.bias": first[:, d], "2.weight": second, "2.bias": flat[1:3]}


def by_engine(spec: Training, labels: np.ndarray) -> dict[str, np.ndarray]:
    engine, n = CompiledLearner(untrained(spec)), len(labels)
    rows = np.zeros((n, engine.n_columns), np.float32)
    rows[:, spec.task.n_inputs] = 1
    _, classes = spec.stream.examples(0, n, out=rows)
    engine.steps(rows, classes ^ labels, np.full(n, spec.optimizer.learning_rate))
    return engine.parameters()


def distance(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def test_weights_after_a_thousand_steps_are_those_of_the_engine(published: Path, browser: Any) -> None:
    spec, n = STUDENTS["two_checkpoint_middle"], 1000
    _, classes = spec.stream.examples(0, n)
    labels = Targets(spec, Store()).of(0, n, classes) ^ classes
    assert 0.1 < labels.mean() < 0.5
    engine = by_engine(spec, labels)
    small, truth = widget.LIVE, np.zeros(n, np.uint8)
    with Visit(browser, published) as visit:
        assert distance(by_kernel(visit, spec, labels), engine) < 1e-5
        assert distance(by_kernel(visit, small, truth), by_engine(small, truth)) < 1e-5
        # the controls: other inputs, other first weights, true labels, labels a step too early
        assert distance(by_kernel(visit, spec, labels, stream=1), engine) > 1e-3
        assert distance(by_kernel(visit, spec, labels, weights=1), engine) > 1e-1
        assert distance(by_kernel(visit, spec, 0 * labels), engine) > 1e-3
        assert distance(by_kernel(visit, spec, np.roll(labels, -1)), engine) > 1e-3


# Students of the paper's size


def test_the_student_of_the_transition_learns_as_published(tmp_path: Path, browser: Any) -> None:
    (tmp_path / widget.LABELS_SCRIPT).write_text(LABELS, "utf-8")
    with Visit(browser, page_of(tmp_path, widget.published_markup(STUDENTS))) as visit:
        curve = run(visit)
        assert outside_requests(visit) == []
        assert visit.errors == []
    table = Published().tables("parity", "paper")["students"]
    of_method = table[(table.method == "two_checkpoint_middle") & (table.step <= widget.N_STEPS)]
    at = dict(zip(curve[:, 0].round(-2), curve[:, 1], strict=True))
    own = of_method[of_method.seed == STUDENTS["two_checkpoint_middle"].seed - STUDENT]
    found = np.array([at[step] for step in own.step])
    np.testing.assert_allclose(found, own.accuracy, atol=0.02)
    for value, peers in (
        (found.mean(), of_method.groupby("seed").accuracy.mean()),
        (found[-1], of_method.groupby("seed").accuracy.last()),
    ):
        low, high = prediction_interval(list(peers), 1)
        assert low - 0.01 <= value <= high + 0.01  # as `store verify` compares
    assert found[own.step <= 1_000_000].max() < 0.75  # the checkpoint itself is no better
    assert found[own.step >= 1_100_000].min() > 0.9


@pytest.mark.parametrize(
    "method", [m for m in widget.METHODS if m not in ("two_checkpoint_middle", "cross_entropy")]
)
def test_students_of_other_checkpoints_stay_at_chance(method: str, tmp_path: Path, browser: Any) -> None:
    (tmp_path / widget.LABELS_SCRIPT).write_text(LABELS, "utf-8")
    page = page_of(tmp_path, with_steps(widget.published_markup(STUDENTS), 1_200_000))
    with Visit(browser, page) as visit:
        curve = run(visit, method=widget.METHODS.index(method))
        assert curve[-1, 0] == pytest.approx(1_200_000, abs=500)
        assert curve[:, 1].max() < CHANCE
        assert "not at 90 %" in said(visit)


# A teacher too


def test_a_small_teacher_learns_and_its_transition_teaches_what_its_end_does_not(
    live: Path, browser: Any
) -> None:
    with Visit(browser, live) as visit:
        assert visit.page.get_by_role("button", name="Start").is_disabled()
        teacher = run(visit, "Train a teacher")
        assert teacher[-1, 1] > 0.99
        assert 0.6 < teacher[int(visit.page.locator("#pd-train-checkpoint").input_value()), 1] < 0.95
        assert run(visit)[-1, 1] > 0.9
        assert run(visit, method=1)[-1, 1] < 0.6
        assert run(visit, method=2)[-1, 1] < 0.6
        assert run(visit, method=0, checkpoint=15)[-1, 1] < 0.6
        assert visit.page.locator(".pd-runs li").count() == 5  # all of them stay, to be compared
        visit.page.get_by_role("button", name="Clear the students").click()
        assert visit.page.locator(".pd-run").count() == 1  # the teacher's
        assert run(visit, checkpoint=10)[-1, 1] > 0.9
        assert accessibility_faults(visit) == []
        assert sideways(visit) == []
        assert visit.errors == []


# What is said


@pytest.mark.parametrize("rate", ["0", "-0.1", "NaN", "1e9", "", "fast"])
def test_a_rate_that_cannot_be_is_refused_in_a_sentence(rate: str, published: Path, browser: Any) -> None:
    with Visit(browser, published) as visit:
        choose(visit, rate=rate)
        visit.page.get_by_role("button", name="Start").click()
        assert said(visit) == f"Learning rate “{rate}”: expected a number from 0.000001 to 1, such as 0.005."
        assert visit.page.evaluate("document.activeElement.id") == "pd-train-rate"
        assert visit.page.locator(".pd-run").count() == 0
        assert len(run(visit, rate="0.01")) == 5  # and then it trains


@pytest.mark.parametrize("seed", ["-1", "1.5", "1000000", "one"])
def test_a_seed_that_cannot_be_is_refused_in_a_sentence(seed: str, published: Path, browser: Any) -> None:
    with Visit(browser, published) as visit:
        choose(visit, seed=seed)
        visit.page.get_by_role("button", name="Start").click()
        assert (
            said(visit) == f"Seed of its first weights “{seed}”: expected a whole number from 0 to 999,999."
        )
        assert visit.page.locator(".pd-run").count() == 0


def test_other_weights_and_rates_draw_other_curves_and_the_same_ones_the_same(
    published: Path, browser: Any
) -> None:
    with Visit(browser, published) as visit:
        first, again = run(visit), run(visit)
        np.testing.assert_array_equal(first, again)
        assert (run(visit, seed=5) != first).any()
        assert (run(visit, seed=1003, rate=0.01) != first).any()


def altered(folder: Path, change: Any) -> None:
    path = folder / widget.LABELS_SCRIPT
    path.write_text(change(path.read_text("utf-8")), "utf-8")


def one_bit(text: str) -> str:
    """The labels with one bit turned in the middle of the first block."""
    at = len(text) // 8
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_bit, "damaged"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: re.sub(r'"stream": "\w', '"stream": "?', text), "those of other inputs"),
        (None, "missing"),
    ],
)
def test_labels_that_are_damaged_or_missing_are_refused_in_a_sentence(
    change: Any, words: str, published: Path, browser: Any
) -> None:
    path = published.parent / widget.LABELS_SCRIPT
    whole = path.read_text("utf-8")
    if change is None:
        path.unlink()
    else:
        altered(published.parent, change)
    with Visit(browser, published) as visit:
        visit.page.get_by_role("button", name="Start").click()
        visit.page.wait_for_function(f"document.querySelector('.pd-said').textContent.includes('{words}')")
        assert visit.page.locator(".pd-run").count() == 0
        assert len(run(visit, method=widget.METHODS.index("cross_entropy"))) == 5  # true labels need no file
        path.write_text(whole, "utf-8")
        if words != "damaged" or "stream" in said(visit):
            assert len(run(visit, method=0)) == 5  # the file is read again


def test_a_network_that_leaves_the_numbers_is_told_and_not_drawn(published: Path, browser: Any) -> None:
    text = (published.parent / widget.SCRIPT).read_text("utf-8")
    (published.parent / widget.SCRIPT).write_text(text.replace("x <= 1,", "x <= 1e30,"), "utf-8")
    with Visit(browser, published) as visit:
        choose(visit, rate="1e30")
        visit.page.get_by_role("button", name="Start").click()
        visit.page.wait_for_function(
            "document.querySelector('.pd-said').textContent.includes('no finite numbers')"
        )
        assert len(drawn(visit)) == 1  # the untrained network


def test_a_run_that_rests_or_is_hidden_goes_on_where_it_was(published: Path, browser: Any) -> None:
    with Visit(browser, published) as visit:
        whole = run(visit)
        choose(visit, pace=1)
        visit.page.get_by_role("button", name="Start").click()
        visit.page.wait_for_function(
            "document.querySelector('.pd-now').textContent.startsWith('step 25,000')"
        )
        visit.page.get_by_role("button", name="Pause").click()
        assert said(visit) == "It rests at step 25,000."
        choose(visit, pace=0)
        rested = len(drawn(visit))
        visit.page.wait_for_timeout(700)  # more than the next evaluation takes at full speed
        assert len(drawn(visit)) == rested
        choose(visit, pace=1)
        hide = "h => { Object.defineProperty(document, 'hidden', {value: h, configurable: true}); "
        hide += "document.dispatchEvent(new Event('visibilitychange')); }"
        visit.page.evaluate(hide, True)
        visit.page.get_by_role("button", name="Continue").click()
        visit.page.wait_for_function(
            "document.querySelector('.pd-now').textContent.startsWith('step 50,000')"
        )
        visit.page.evaluate(hide, False)
        assert "While this tab was hidden the run went on, from step 25,000 to " in said(visit)
        choose(visit, pace=0)
        visit.page.wait_for_function(DONE, timeout=400_000)
        np.testing.assert_array_equal(drawn(visit), whole)


def test_without_simd_or_scripts_the_published_curves_stand_and_a_sentence_says_why(
    published: Path, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Visit(browser, published) as visit:
        visit.context.add_init_script("WebAssembly.validate = () => false")
        visit.page.reload()
        assert "no WebAssembly with SIMD" in said(visit)
        assert visit.page.locator("button").count() == 0
        assert visit.page.locator("svg [data-method] polyline").count() == len(widget.METHODS)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(published.as_uri())
    assert page.locator("svg[role=img]").get_attribute("aria-label").startswith("published accuracy of")
    assert page.locator("noscript p").is_visible()
    context.close()


# The page


def test_the_scripts_are_small() -> None:
    assert len(widget.script(kernel.FOLDER)) < 120_000
    assert len(widget.published_markup(STUDENTS)) + len(widget.live_markup()) < 20_000
    assert len(LABELS) < 400_000


def test_by_keyboard_on_a_phone_and_for_screen_readers(published: Path, browser: Any) -> None:
    with Visit(browser, published) as visit:
        page = visit.page
        page.locator("#pd-train-method").focus()
        page.keyboard.press("ArrowDown")
        assert page.locator("#pd-train-rate").input_value() == str(
            STUDENTS["two_checkpoint_before"].optimizer.learning_rate
        )
        for _ in range(4):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_function(DONE, timeout=60_000)
        assert accessibility_faults(visit) == []
        assert sideways(visit) == []
        assert outside_requests(visit) == []
        assert visit.errors == []


def test_staging_fills_both_places(tmp_path: Path) -> None:
    from pdlib import book

    for folder in ("book/_ext/static", "notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "book" / "_ext" / "widget").symlink_to(kernel.FOLDER)
    (tmp_path / "book" / "intro.md").write_text("a\n\n<!-- train a teacher -->\n", "utf-8")
    cell = {"source": "b\n\n<!-- train a student -->"}
    (tmp_path / "notebooks" / "parity.ipynb").write_text(json.dumps({"cells": [cell]}), "utf-8")
    book._stage_training(tmp_path)
    assert widget.live_markup() in (tmp_path / "book" / "intro.md").read_text("utf-8")
    (cell,) = json.loads((tmp_path / "notebooks" / "parity.ipynb").read_text("utf-8"))["cells"]
    assert cell["source"] == f"b\n\n{widget.published_markup(STUDENTS)}"
    assert {path.name for path in (tmp_path / "book/_ext/static").iterdir()} == {"train.js", "labels.js"}
