"""How far the runs of a graph are: a bar in a terminal or a live notebook, plain lines now and then in a file.

Who runs them counts in a `Tracker`, which tells a `State` at the start, at the end, and now and then between. A
`Display` shows states. The two may sit in different processes: a page's kernel appends what it is told to the file
that `PDLIB_PROGRESS` names, and the process in the terminal reads it there.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TextIO

from tqdm.asyncio import tqdm_asyncio
from tqdm.auto import tqdm

LINE_S = 60.0  # from a line to the next one
BEAT_S = 5.0  # from a state to the next one while a run says nothing
LEAST_S = 0.5  # between two states, however often runs say something


@dataclass(frozen=True)
class State:
    """How far a graph is.

    >>> print(State(40, 90_000, finished=10, under_way=2, done=30_000, elapsed_s=600.0, moment="on").line())
    10 of 40 runs done, 2 under way; 30,000 of 90,000 steps; 0:10:00 so far, about 0:20:00 left
    """

    runs: int
    steps: int  # of all runs
    finished: int = 0
    failed: int = 0
    under_way: int = 0
    done: int = 0  # steps; of runs on a cluster those of finished ones alone
    elapsed_s: float = 0.0
    moment: Literal["start", "on", "end"] = "start"

    def line(self) -> str:
        """Return it in words; the time left supposes that all steps cost the same."""
        runs = [f"{self.finished} of {self.runs} runs done"]
        runs += [f"{n} {what}" for n, what in ((self.under_way, "under way"), (self.failed, "failed")) if n]
        parts = [", ".join(runs), f"{self.done:,} of {self.steps:,} steps"]
        if self.moment != "start":
            time_ = f"{_clock_time(self.elapsed_s)} so far"
            if self.moment == "on" and self.done:
                left_s = self.elapsed_s * (self.steps - self.done) / self.done
                time_ += f", about {_clock_time(left_s)} left"
            parts.append(time_)
        return "; ".join(parts)


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Tracker:
    """Counts what a graph has done, and tells it; a thread tells it too while runs say nothing.

    Parameters
    ----------
    runs, steps
        Of the whole graph.
    tell
        Takes a state: the first when the tracker is entered, the last, with the moment `"end"`, when it is left.
    clock
        Seconds, rising.

    Examples
    --------
    >>> told = []
    >>> with Tracker(2, 300, told.append, clock=map(float, range(0, 99, 10)).__next__) as tracker:
    ...     tracker.advance(100)
    ...     tracker.run_done("teacher", 200)
    >>> [(state.moment, state.finished, state.done, state.elapsed_s) for state in told]
    [('start', 0, 0, 0.0), ('on', 0, 100, 10.0), ('on', 1, 200, 20.0), ('end', 1, 200, 30.0)]
    """

    def __init__(
        self,
        runs: int,
        steps: int,
        tell: Callable[[State], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        beat_s: float = BEAT_S,
    ) -> None:
        self._runs, self._steps, self._tell, self._clock, self._beat_s = runs, steps, tell, clock, beat_s
        self._ended: dict[str, tuple[int, bool]] = {}  # run -> its steps, and whether it failed
        self._part = 0  # steps of the run that this process is at
        self.under_way: Callable[[], int] = lambda: 0  # how many runs other processes are at
        self.steps_elsewhere: Any = None  # of these; its `value`
        self._lock, self._over = threading.Lock(), threading.Event()
        self._started = self._told = 0.0
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Tracker:
        self._started = self._told = self._clock()
        self._tell(State(self._runs, self._steps))
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._beats.join()
        self._say("end")

    def advance(self, steps: int) -> None:
        """Count steps of the run that this process is at."""
        self._part += steps
        self._say()

    def run_done(self, run: str, steps: int, *, failed: bool = False) -> None:
        """Count a run, once, with all its steps."""
        self._part = 0
        self._ended[run] = steps, failed
        self._say()

    def _beat(self) -> None:
        while not self._over.wait(self._beat_s):
            self._say()

    def _say(self, moment: Literal["on", "end"] = "on") -> None:
        with self._lock:
            now = self._clock()
            if moment == "on" and now - self._told < LEAST_S:
                return
            self._told = now
            ended = list(self._ended.values())
            failed = sum(failed for _, failed in ended)
            done = sum(steps for steps, _ in ended) + self._part + getattr(self.steps_elsewhere, "value", 0)
            state = State(
                self._runs,
                self._steps,
                len(ended) - failed,
                failed,
                0 if moment == "end" else self.under_way(),
                min(done, self._steps),
                now - self._started,
                moment,
            )
            self._tell(state)


class Display:
    """Shows states, of one graph after the other: in a bar, or as lines if the output is no terminal.

    Parameters
    ----------
    title
        What stands before each.
    file
        By default standard error.
    leave
        Whether the bar of a graph that has ended stays.
    """

    def __init__(self, title: str = "", file: TextIO | None = None, *, leave: bool = True) -> None:
        self._title, self._leave = title, leave
        self._file = file or sys.stderr
        self._bar: Any = None
        self._shown_s = 0.0
        live_notebook = file is None and tqdm is not tqdm_asyncio  # its bar is a widget, and no file's
        self._lines = not (self._file.isatty() or live_notebook)

    def show(self, state: State) -> None:
        """Show a state: lines only those at the start and the end of a graph, and one a minute between."""
        if self._lines:
            if state.moment != "on" or state.elapsed_s - self._shown_s >= LINE_S:
                print(f"{self._title}{state.line()}", file=self._file, flush=True)
                self._shown_s = state.elapsed_s
            return
        if state.moment == "start" or self._bar is None:
            self.close()
            named = f"{self._title}{state.runs} runs"
            self._bar = tqdm(
                total=state.steps,
                desc=named,
                unit=" steps",
                unit_scale=True,
                leave=self._leave,
                file=self._file,
            )
        self._bar.update(state.done - self._bar.n)
        if state.moment == "end":
            self.close()

    def close(self) -> None:
        """End the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def append(path: Path, state: State) -> None:
    """Add a state to a file, for a display in another process."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(state)) + "\n")


def appended(path: Path) -> Iterator[list[State]]:
    """Yield, each time it is asked, the states that were added to a file since; none while there is no file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "progress")
    >>> found = appended(path)
    >>> next(found)
    []
    >>> append(path, State(2, 300)), append(path, State(2, 300, done=7, moment="on"))
    (None, None)
    >>> [state.done for state in next(found)], next(found)
    ([0, 7], [])
    """
    read = 0
    while True:
        states = []
        if path.exists():
            with path.open("rb") as file:
                file.seek(read)
                whole, end, _ = file.read().rpartition(b"\n")  # a line that is being written comes next time
            read += len(whole) + len(end)
            states = [State(**json.loads(line)) for line in whole.splitlines()]
        yield states
