"""Progress: plain lines now and then in a file, a bar in a terminal, and a run that is long is no silence."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny

from pdlib import engine, progress
from pdlib.engine import RunsFailedError, execute
from pdlib.optimizers import SGD
from pdlib.progress import Display, State, Tracker, append, appended
from pdlib.store import Store

TEACHER = tiny.training()
STUDENT = tiny.student(TEACHER, n_steps=800)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def seconds(every: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever it is read."""
    now: Iterator[float] = iter(every * i for i in range(10**9))
    return now.__next__


def lines(states: list[State], title: str = "") -> list[str]:
    file = io.StringIO()
    display = Display(title, file)
    for state in states:
        display.show(state)
    display.close()
    assert "\r" not in file.getvalue()
    return file.getvalue().splitlines()


def hour() -> list[State]:
    """An hour of a graph of four runs, told every ten seconds."""
    told: list[State] = []
    with Tracker(4, 360, told.append, clock=seconds(10.0)) as tracker:
        for i in range(359):
            tracker.advance(1)
            if i % 90 == 89:
                tracker.run_done(str(i), 90)
    return told


def test_a_file_gets_a_line_a_minute_and_one_at_the_start_and_at_the_end() -> None:
    states = hour()
    shown = lines(states, "pcfg: ")
    assert len(states) > 360
    assert shown[0] == "pcfg: 0 of 4 runs done; 0 of 360 steps"
    assert shown[1] == "pcfg: 0 of 4 runs done; 6 of 360 steps; 0:01:00 so far, about 0:59:00 left"
    assert shown[-1].startswith("pcfg: 3 of 4 runs done; 359 of 360 steps; 1:0")
    assert "left" not in shown[-1]
    assert 60 <= len(shown) - 2 <= 62


def test_a_terminal_gets_a_bar_for_each_graph() -> None:
    file = Terminal()
    display = Display("pcfg: ", file)
    for state in [*hour(), State(2, 70), State(2, 70, done=70, finished=2, moment="end")]:
        display.show(state)
    shown = file.getvalue()
    assert "\r" in shown
    assert "pcfg: 4 runs:" in shown
    assert "359/360" in shown
    assert "pcfg: 2 runs: 100%" in shown
    assert "runs done" not in shown


def test_a_run_that_is_counted_again_counts_once_and_one_that_failed_is_told_in_a_short_graphs_two_lines() -> (
    None
):
    told: list[State] = []
    with Tracker(3, 30, told.append, clock=seconds(0.01)) as tracker:
        tracker.run_done("a", 10)
        tracker.run_done("a", 10)  # as in a pool that was started again
        tracker.run_done("b", 10, failed=True)
    assert lines(told) == [
        "0 of 3 runs done; 0 of 30 steps",
        "1 of 3 runs done, 1 failed; 20 of 30 steps; 0:00:00 so far",
    ]


def test_steps_of_an_unfinished_run_count_until_it_is_done() -> None:
    told: list[State] = []
    with Tracker(2, 30, told.append, clock=seconds(1.0)) as tracker:
        tracker.advance(7)
        tracker.advance(1)
        tracker.run_done("a", 10)
        tracker.advance(5)
    assert [state.done for state in told] == [0, 7, 8, 10, 15, 15]


def test_a_file_is_read_as_it_grows_and_half_a_line_waits(tmp_path: Path) -> None:
    path, states = tmp_path / "progress", hour()[:3]
    found = appended(path)
    for state in states:
        append(path, state)
        with path.open("a") as file:
            file.write('{"runs": 1')
        assert next(found) == [state]
        path.write_text(path.read_text().removesuffix('{"runs": 1'))
    assert next(found) == []


# In an execution


def test_a_script_whose_output_is_a_file_writes_lines(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    execute([STUDENT], store)
    shown = capsys.readouterr().err
    assert "\r" not in shown
    first, *_, last = shown.splitlines()
    assert first == "0 of 2 runs done; 0 of 1,200 steps"
    assert re.fullmatch(r"2 of 2 runs done; 1,200 of 1,200 steps; 0:0\d:\d\d so far", last)
    execute([STUDENT], store)
    assert capsys.readouterr().err == ""  # nothing to do, nothing shown


def test_a_bar_counts_the_steps_of_all_runs_in_a_terminal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    execute([STUDENT], store)
    assert "2 runs: 100%" in terminal.getvalue()


def test_progress_is_told_to_whoever_watches_the_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "progress"
    monkeypatch.setenv("PDLIB_PROGRESS", str(path))
    execute([STUDENT], store)
    broken = tiny.training(optimizer=SGD(1e30), n_steps=4000, evaluate_every=2000, checkpoint_every=1000)
    with pytest.raises(RunsFailedError):
        execute([tiny.student(broken), tiny.training(seed=1)], store, n_workers=2)
    states = next(appended(path))
    assert [state.moment for state in states if state.moment != "on"] == ["start", "end"] * 2
    ends = [(s.runs, s.finished, s.failed, s.steps, s.done) for s in states if s.moment == "end"]
    assert ends == [(2, 2, 0, 1200, 1200), (3, 1, 2, 4800, 4800)]  # what waits for a failure has failed
    assert capsys.readouterr().err == ""


def test_runs_in_other_processes_are_told_while_they_say_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot report their steps; that they are under way is said all the same."""
    told: list[State] = []

    class Slow(Executor):
        def __init__(self) -> None:
            self.waiting: list[tuple[Future[Any], Any, Any]] = []

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.waiting.append((Future(), fn, args))
            return self.waiting[-1][0]

    slow = Slow()

    def show(_: Display, state: State) -> None:
        told.append(state)
        if state.under_way == 2 and sum(s.under_way == 2 for s in told) == 3:  # nothing was done meanwhile
            for future, fn, args in slow.waiting:
                future.set_result(fn(*args))

    monkeypatch.setattr(Display, "show", show)
    monkeypatch.setattr(progress, "LEAST_S", 0.0)
    monkeypatch.setattr(engine, "Tracker", partial(Tracker, beat_s=0.001))
    execute([TEACHER, tiny.training(seed=1)], store, executor=slow)
    waited = [state for state in told if state.under_way == 2]
    assert len(waited) == 3
    assert {(state.finished, state.done) for state in waited} == {(0, 0)}
    assert "2 under way" in waited[0].line()
    assert (told[-1].finished, told[-1].under_way, told[-1].moment) == (2, 0, "end")


def test_no_more_runs_are_under_way_than_there_are_workers(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    asked: list[int] = []
    original = engine._run_on

    def run_on(executor: Any, graph: Any, workplace: Any, tracker: Tracker, n: int, job: Any) -> None:
        original(executor, graph, workplace, tracker, n, job)
        asked.append(n)

    monkeypatch.setattr(engine, "_run_on", run_on)
    told: list[State] = []
    monkeypatch.setattr(Display, "show", lambda _, state: told.append(state))
    monkeypatch.setattr(progress, "LEAST_S", 0.0)
    execute([tiny.training(seed=i) for i in range(5)], store, n_workers=2)
    assert asked == [2]
    assert max(state.under_way for state in told) <= 2
    assert told[-1].finished == 5


def test_steps_of_workers_count_while_their_runs_are_under_way(
    monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    told: list[State] = []
    monkeypatch.setattr(Display, "show", lambda _, state: told.append(state))
    monkeypatch.setattr(progress, "LEAST_S", 0.0)
    monkeypatch.setattr(engine, "Tracker", partial(Tracker, beat_s=0.001))
    execute([replace(TEACHER, checkpoint_every=100, seed=seed) for seed in (1, 2)], store, n_workers=2)
    assert any(state.done > 0 and state.finished == 0 for state in told)
    assert (told[-1].finished, told[-1].done) == (2, 2 * TEACHER.n_steps)
