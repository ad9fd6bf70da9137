"""What decides a result: frozen records of literals, their canonical form and their fingerprint.

A `Training` says everything that decides a trained model; its supervision may contain the teacher's own `Training`, so a
student names its whole ancestry. A `Measurement` is a probe applied to the checkpoints of a training. A `Calculation`
needs neither. All can be run, stored and found again by fingerprint.

Each class carries a `version`: the number of the code that gives the record its meaning. It enters the fingerprint, so a
result of older code is never mistaken for one of today's. A subclass of `Spec` is known by being defined, here or elsewhere;
of one that is not of this package the code itself enters, see `pdlib.sources`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from types import FunctionType
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pdlib.fields import Count as Count
from pdlib.fields import Index as Index
from pdlib.fields import Positive as Positive
from pdlib.fields import Several as Several
from pdlib.fields import Share as Share
from pdlib.fields import SpecError as SpecError
from pdlib.fields import Temperature as Temperature
from pdlib.fields import check_fields as check_fields
from pdlib.fields import checked as checked
from pdlib.fields import derived as derived
from pdlib.fields import later as later
from pdlib.fields import require as require
from pdlib.sequences import SentenceStream
from pdlib.sequences import Sequences as Sequences  # scripts of users have it from here
from pdlib.sources import FUNCTION, PROCESS, SOURCE, function_of, homes, of_function, own_code

UNSAVED = "unsaved-"  # how fingerprints begin that mean something in this process alone

_KINDS: dict[str, list[type[Spec]]] = {}  # those that are loaded, by name, the last one defined last

Purpose = Literal["train", "evaluation", "probe"]
EVALUATION_SEED = 0  # of the stream of held-out examples: the same for all runs of a task


@cache
def _signature(cls: type) -> inspect.Signature:
    return inspect.signature(cls.__init__)  # type: ignore[misc]


@dataclass(frozen=True)
class Spec:
    """Base of all records: checked fields, canonical form, fingerprint, and the way back from a stored record.

    Every field is held to its annotation, see `checked`. A subclass whose `__post_init__` has more to check calls this one's
    first.

    Examples
    --------
    >>> from pdlib import SGD
    >>> SGD(0.01).fingerprint == SGD(1e-2).fingerprint != SGD(0.02).fingerprint
    True
    >>> Spec.from_canonical(SGD(0.01).canonical()) == SGD(0.01)
    True
    """

    version: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _KINDS.setdefault(cls.__name__, []).append(cls)

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Refuse what is no field; see `checked` for what a field may hold."""
        try:
            if values or named:  # a copy comes without
                signature: inspect.Signature = _signature(cls)  # type: ignore[arg-type]
                signature.bind_partial(None, *values, **named)  # what is no field, before what is missing
                signature.bind(None, *values, **named)
        except TypeError as error:
            fields_ = ", ".join(f.name for f in fields(cls) if f.init)
            raise SpecError(f"{cls.__name__}: {error}: expected the fields {fields_}.") from None
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check_fields(self)

    def canonical(self) -> dict[str, Any]:
        """Return the record as nested plain values: kinds, versions and, of a user's own kinds, a hash of their code."""
        return (
            {"kind": type(self).__name__, "version": self.version}
            | ({SOURCE: code} if (code := own_code(type(self))) else {})
            | {
                f.name: _plain(getattr(self, f.name), f"{type(self).__name__}.{f.name}")
                for f in fields(self)
                if not (f.metadata.get("later") and getattr(self, f.name) == f.default)
            }
        )

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 (first 32 digits) of the canonical form; code of the user's own is read again each time."""
        kept: str | None = vars(self).get("fingerprint")
        if kept is None:
            record = self.canonical()
            kept = fingerprint_of(record)
            if SOURCE not in str(record):
                vars(self)["fingerprint"] = kept
        return kept

    @staticmethod
    def from_canonical(record: dict[str, Any], *, current_code: bool = False) -> Any:
        """Rebuild a record from its canonical form.

        With `current_code`, versions written by other code are ignored, and the result means what today's code makes of it.

        Raises
        ------
        SpecError
            If the kind is unknown, a field is missing or unknown, or the version, source or a derived field another's.
        """
        kind, code = str(record.get("kind")), record.get(SOURCE, "")
        if kind in homes():
            import_module(homes()[kind])
        expected = f"one of {', '.join(sorted({*_KINDS, *homes()}))}"
        require(kind in _KINDS, f"kind {kind!r}", expected, "Import the module that defines it.")
        known = _KINDS[kind][::-1]
        cls = next((cls for cls in known if own_code(cls) == code), known[0])
        given = {k: v for k, v in record.items() if k not in ("kind", "version", SOURCE)}

        def written_by_this(same: bool, what: str, expected: str) -> None:
            remedy = "Run it again with this code, or use the code that wrote it."
            require(current_code or same, f"{kind} {what}", f"{expected} of this code", remedy)

        version = record.get("version")
        written_by_this(version == cls.version, f"of version {version}", f"version {cls.version}, the one")
        same_source = "the class and what it uses as they are, that"
        written_by_this(own_code(cls) == code, "of another source", same_source)
        names = {f.name for f in fields(cls)}
        needed = {f.name for f in fields(cls) if not f.metadata.get("later")}
        what = f"{kind} with the fields {sorted(given)}"
        require(needed <= set(given) <= names, what, f"exactly the fields {sorted(names)}")
        chosen = [f.name for f in fields(cls) if f.init and f.name in given]
        spec = cls(**{name: _rebuilt(given[name], current_code) for name in chosen})
        for f in (f for f in fields(cls) if not f.init):
            told, value = given.get(f.name, f.default), getattr(spec, f.name)
            written_by_this(told == value, f"with {f.name} {told!r}", f"{value!r}, that")
        return spec


def fingerprint_of(canonical: dict[str, Any]) -> str:
    """Return the fingerprint that a canonical form has, whatever code wrote it."""
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return ((UNSAVED if PROCESS in text else "") + hashlib.sha256(text.encode()).hexdigest())[:32]


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Spec):
        return value.canonical()
    if isinstance(value, tuple):
        return [_plain(v, where) for v in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (FunctionType, type)):
        return of_function(value)
    raise SpecError(
        f"{where} = {value!r} of type {type(value).__name__}: expected a literal (bool, int, float, str, None), a function, "
        "another spec or a tuple of them. Convert it, for example with int() or tuple()."
    )


def _rebuilt(value: Any, current_code: bool) -> Any:
    if isinstance(value, dict) and value["kind"] == FUNCTION:
        what, expected = f"function {value['name']}", "one that is loaded, as the record names it"
        found = function_of(value)
        require(found is not None, what, expected, "Import its module, or run it again with this code.")
        return found
    if isinstance(value, dict):
        return Spec.from_canonical(value, current_code=current_code)
    if isinstance(value, list):
        return tuple(_rebuilt(v, current_code) for v in value)
    return value


class _Frequent(Spec):
    """What may know how frequent its tokens or classes are."""

    def frequencies(self) -> NDArray[np.float64]:
        """Return how frequent each token is in training, or each class among its targets; 0 for special tokens.

        Raises
        ------
        SpecError
            If it does not know.
        """
        raise SpecError(
            f"{self}: it does not know how frequent its tokens are: expected a text that does, such as a Corpus with "
            "MaskedPrediction. Use initial_bias='zero'."
        )


@dataclass(frozen=True)
class Source(_Frequent):
    """Where token sequences come from; a source that is more than tokens says so in what follows `max_length`.

    >>> from pdlib import grammar
    >>> grammar("cfg3b", roots=(14, 15)).max_length
    27
    """

    @property
    def n_tokens(self) -> int:
        """Number of tokens, which are whole numbers from 0."""
        raise NotImplementedError

    @property
    def max_length(self) -> int:
        """Length of the longest sequence."""
        raise NotImplementedError

    @property
    def has_mask(self) -> bool:
        """Whether one of the tokens is [mask]."""
        return False

    @property
    def mask_token(self) -> int:
        """The number of [mask]: that of the token, or the next one after all tokens."""
        return self.n_tokens

    @property
    def special_tokens(self) -> tuple[int, ...]:
        """Tokens that are marks and no text: never selected, never removed, never drawn as random ones."""
        return ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What its sequences come from, if from several kinds of text; its streams then are `PartedStream`."""
        return ()

    def sentence_stream(self, identity: str, purpose: Purpose = "train") -> SentenceStream:
        """Return the stream of this name, endless at least for training.

        A source of finitely many sequences keeps those for `"evaluation"` and `"probe"` apart from the training ones.
        """
        raise NotImplementedError


class ExampleStream(Protocol):
    """Endless examples, numbered from 0; any block can be made again anywhere."""

    identity: str

    def examples(self, start: int, stop: int, out: NDArray[Any] | None = None) -> tuple[Any, NDArray[Any]]:
        """Return inputs and true classes of the examples start ... stop - 1.

        Inputs are an array (example, coordinate), with a class each, or `Sequences`, with a class a target. Classes are
        whole numbers of a type that holds them all.
        """
        ...


@dataclass(frozen=True)
class Task(_Frequent):
    """What is to be learned: a stream of examples with labels.

    >>> from pdlib import SparseParity
    >>> [part.shape for part in SparseParity(8, 2).stream(seed=0, purpose="train").examples(0, 5)]
    [(5, 8), (5,)]
    """

    @property
    def n_classes(self) -> int:  # C
        """Number of classes."""
        raise NotImplementedError

    @property
    def n_inputs(self) -> int:  # d
        """Number of input coordinates, or the length of the longest sequence."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> int:
        """Number of tokens of a task whose inputs are `Sequences`; 0 for any other."""
        return 0

    @property
    def causal(self) -> bool:
        """Whether the input shows what is asked for further on, so that a network must not look ahead."""
        return False

    def stream(self, seed: int, purpose: Purpose) -> ExampleStream:
        """Return the endless stream of examples of this task, seed and purpose."""
        raise NotImplementedError

    def scores(self, predicted: NDArray[np.int64], classes: NDArray[Any]) -> dict[str, float]:
        """Return further columns of an evaluation's row, from predicted and true classes."""
        return {}


Parameters = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Model(Spec):
    """A network; its parameters are a plain dictionary of arrays.

    >>> from pdlib import MLP
    >>> MLP(4).initial(n_inputs=8, n_classes=2, seed=0)["0.weight"].shape
    (4, 8)
    """

    def for_task(self, task: Task) -> Model:
        """Return what a training on a task holds of this model: the same, unless it has to know the task's sizes."""
        return self

    def check(self, task: Task) -> None:
        """Raise `SpecError` if this network cannot take the task's inputs."""

    def initial(self, n_inputs: int, n_classes: int, seed: int) -> Parameters:
        """Return initial parameters, float64, a function of these numbers alone."""
        raise NotImplementedError

    def logits(self, parameters: Parameters, inputs: Any, device: str = "cpu") -> NDArray[Any]:
        """Return the outputs (example, class) for inputs (example, n_inputs), or (target, class) for `Sequences`."""
        raise NotImplementedError

    def module(self, parameters: Parameters) -> Any:
        """Return the network as a PyTorch module with copies of these parameters, named as in the dictionary."""
        raise NotImplementedError

    def multiply_adds(self, n_inputs: int, n_classes: int) -> float:
        """Return roughly how many it takes to put one example through the network: by default one a parameter."""
        return float(sum(value.size for value in self.initial(n_inputs, n_classes, seed=0).values()))


@dataclass(frozen=True)
class Optimizer(Spec):
    r"""How a gradient becomes a step; the rate is constant or warm-up and cosine.

    .. math:: \eta_t = \eta \min\left(1, \tfrac{t+1}{w}\right) \quad\text{or}\quad
              \eta_t = \tfrac{\eta}{2}\left(1 + \cos \pi \tfrac{t - w}{T - w}\right) \text{ from step } w
              \text{ of } T \text{ on}

    Parameters
    ----------
    learning_rate
        :math:`\eta > 0`.
    schedule
        `"constant"` (after the warm-up) or `"cosine"` (to 0 at the last step).
    warmup_fraction
        :math:`w / T`, in [0, 1): the share of the steps over which the rate rises linearly.

    Examples
    --------
    >>> from pdlib import SGD
    >>> SGD(1.0, "cosine", warmup_fraction=0.2).rates(0, 4, n_steps=4).round(2).tolist()
    [1.0, 1.0, 0.75, 0.25]
    """

    learning_rate: Positive  # eta
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_fraction: Annotated[float, "[0, 1)"] = 0.0

    def rates(self, start: int, stop: int, n_steps: int) -> NDArray[np.float64]:
        """Return the rates of the steps start ... stop - 1 of a run of `n_steps`, shape (stop - start,)."""
        t = np.arange(start, stop, dtype=np.float64)
        warm = max(1.0, round(self.warmup_fraction * n_steps))
        rate = self.learning_rate * np.minimum(1.0, (t + 1) / warm)
        if self.schedule == "cosine":
            late = t >= warm
            angle = np.pi * (t[late] - warm) / (n_steps - warm)
            rate[late] = self.learning_rate * 0.5 * (1 + np.cos(angle))
        return rate


@dataclass(frozen=True)
class Supervision(Spec):
    """Where the training targets come from.

    >>> isinstance(Labels(), Supervision)
    True
    """


@dataclass(frozen=True)
class Labels(Supervision):
    """Cross-entropy against the true class (paper, Equation 1).

    >>> from pdlib import MLP, SGD, SparseParity
    >>> Training(SparseParity(8, 2), MLP(4), SGD(0.1), n_steps=50, evaluate_every=25).supervision
    Labels()
    """


@dataclass(frozen=True)
class Schedule(Spec):
    """Which teacher checkpoint supervises which student step; see `pdlib.schedules`.

    >>> from pdlib import OneShot
    >>> OneShot().pieces(checkpoints=(100, 200), n_steps=50)
    [Piece(start=0, stop=50, checkpoint=200)]
    """

    def pieces(self, checkpoints: tuple[int, ...], n_steps: int) -> list[Piece]:
        """Return the pieces of a student run under a teacher with these checkpoints, as far as they are known before it."""
        raise NotImplementedError

    def check(self, training: Training) -> None:
        """Raise `SpecError` if a student's run lacks what the schedule needs."""

    def gate(self, checkpoints: tuple[int, ...], n_steps: int) -> Any:
        """Return what decides the further pieces by what the student says; None: `pieces` are all there are."""
        return None


@dataclass(frozen=True)
class Piece:
    """Student steps start ... stop - 1 are supervised by the teacher's checkpoint at `checkpoint`.

    >>> Piece(0, 50, checkpoint=200).stop
    50
    """

    start: int
    stop: int
    checkpoint: int  # teacher step


@dataclass(frozen=True)
class Teacher(Spec):
    """A network at several steps of its training: a `Training` of ours, or checkpoints that others published.

    >>> from pdlib import MLP, SGD, SparseParity
    >>> Training(SparseParity(8, 2), MLP(4), SGD(0.1), 50, 25, checkpoint_every=25).checkpoints
    (25, 50)
    """

    task: Task
    model: Model

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Steps of which there are parameters, rising; the last is the final one."""
        raise NotImplementedError

    def parameters(self, step: int, store: Any) -> Parameters:
        """Return the parameters at one of its checkpoints; those of a training are in the store."""
        raise NotImplementedError


@dataclass(frozen=True)
class TargetRule(Spec):
    """What a student is told, made of what a teacher's checkpoint says; see `pdlib.target_rules`.

    >>> from pdlib import Sampled
    >>> isinstance(Sampled(4), TargetRule)
    True
    """

    hard: ClassVar[bool] = True  # targets are classes, (example,), not distributions, (example, class)
    final_too: ClassVar[bool] = True  # the final checkpoint's answers change too; else they are its argmax
    plain: ClassVar[bool] = False  # targets are told as they are, at temperature 1: `of` is not asked

    def check(self, training: Training) -> None:
        """Raise `SpecError` if the student's task or teacher lacks what the rule needs."""

    def of(self, checkpoint: Any) -> Callable[[Any, NDArray[Any], int], NDArray[Any]]:
        """Return the function of inputs, true classes and the first example's number that gives a block's targets."""
        raise NotImplementedError

    def pace(self, n_steps: int) -> Any:
        """Return, for a run, how far targets lie from the student's own answers to the told ones; None: all the way."""
        return None


@dataclass(frozen=True)
class Distillation(Supervision):
    r"""Cross-entropy against a frozen teacher's output distribution (paper, Equation 2).

    The teacher's entropy is left out of the loss; the gradient is that of
    :math:`\mathrm{KL}(p_T(x; \tau) \| p_S(x))`.

    Parameters
    ----------
    teacher
        A training whose checkpoints teach, or `pdlib.models.published.PublishedCheckpoints`.
    schedule
        Which checkpoint supervises which step.
    temperature
        :math:`\tau > 0` of the teacher's softmax; the student's is 1. Ignored, and kept at 1, for hard targets.
    targets
        `"soft"`: the distribution, rounded to `Training.soft_targets`; `"hard"`: its argmax; or a `TargetRule`.

    >>> from pdlib import MLP, SGD, OneShot, SparseParity
    >>> teacher = Training(SparseParity(8, 2), MLP(64), SGD(0.1), n_steps=50, evaluate_every=25)
    >>> Training(teacher.task, MLP(4), SGD(0.1), 80, 40, supervision=Distillation(teacher, OneShot())).pieces
    [Piece(start=0, stop=80, checkpoint=50)]
    """

    teacher: Teacher
    schedule: Schedule
    temperature: Temperature = 1.0  # tau
    targets: Literal["soft", "hard"] | TargetRule = "soft"

    def __post_init__(self) -> None:
        super().__post_init__()
        what = f"temperature = {self.temperature} with {self.targets} targets"
        expected = "1.0, since an argmax has no temperature and a rule has its own"
        require(self.targets == "soft" or self.temperature == 1.0, what, expected)

    @property
    def hard(self) -> bool:
        """Whether targets are classes and not distributions."""
        return self.targets == "hard" or (isinstance(self.targets, TargetRule) and self.targets.hard)


@dataclass(frozen=True)
class Training(Teacher):
    """One training run: everything that decides its result.

    Parameters
    ----------
    evaluate_every
        Steps between evaluations on held-out examples; step 0 and the last step are always evaluated.
    seed
        Decides the initial weights and the training stream.
    checkpoint_every
        Steps between kept checkpoints (the last step is always one); 0 keeps only the last.
    n_evaluation
        Held-out examples, the same for all runs of a task.
    precision
        `"float32"` or `"float64"`; `"bfloat16"`: matrix products in bfloat16 by a CUDA device, parameters and
        the optimizer's state in float32.
    data_seed
        Decides the training stream in the place of `seed`: runs that differ in their initial weights alone.

    Attributes
    ----------
    soft_targets
        The type of a teacher's distributions, which follows from the rest: `"float64"` for a run of that precision from
        soft targets, else `"float16"`, whose relative rounding error is up to 2^-11, before they are normalized again. Of
        more than 256 classes, which are not stored, the latter are in the teacher's precision instead.

    Examples
    --------
    >>> from pdlib import MLP, SGD, SparseParity
    >>> spec = Training(SparseParity(8, 2), MLP(4), SGD(0.1), n_steps=50, evaluate_every=30, checkpoint_every=20)
    >>> spec.checkpoints, spec.evaluations
    ((20, 40, 50), (0, 30, 50))
    """

    optimizer: Optimizer
    n_steps: Count
    evaluate_every: Count
    seed: Index = 0
    supervision: Supervision = field(default_factory=Labels)
    checkpoint_every: Index = 0
    batch_size: Count = 1
    n_evaluation: Count = 4096
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    data_seed: Annotated[int, "[0, inf)"] | None = later(None)
    soft_targets: Literal["float16", "float64"] = derived("float16")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_seed == self.seed:
            object.__setattr__(self, "data_seed", None)  # one spec for one run
        every = f"checkpoint_every = {self.checkpoint_every!r}"
        require(self.checkpoint_every <= self.n_steps, every, f"0, or at most n_steps = {self.n_steps}")
        n_micro = getattr(self.optimizer, "n_micro_batches", 1)
        divisor = f"a divisor of batch_size = {self.batch_size}"
        require(self.batch_size % n_micro == 0, f"n_micro_batches = {n_micro}", divisor)
        object.__setattr__(self, "model", self.model.for_task(self.task))
        self.model.check(self.task)
        if isinstance(self.supervision, Distillation):
            other = self.supervision.teacher.task
            require(other == self.task, f"a teacher of {other}", f"one of the student's task, {self.task}")
            self.supervision.schedule.pieces(self.supervision.teacher.checkpoints, self.n_steps)
            self.supervision.schedule.check(self)
            rule = self.supervision.targets
            if isinstance(rule, TargetRule):
                what = f"{type(rule).__name__} on {self.task}"
                require(not self.task.vocabulary, what, "a task whose examples have one class each")
                rule.check(self)
            if self.precision == "float64" and not self.supervision.hard:
                object.__setattr__(self, "soft_targets", "float64")

    @property
    def stream(self) -> ExampleStream:
        """The training stream."""
        return self.task.stream(self.seed if self.data_seed is None else self.data_seed, "train")

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Steps whose parameters are kept, rising; the last is the final one."""
        every = self.checkpoint_every or self.n_steps
        return (*range(every, self.n_steps, every), self.n_steps)

    def parameters(self, step: int, store: Any) -> Parameters:
        """Return the parameters at a checkpoint out of the store; see `Store.load_checkpoint`."""
        found: Parameters = store.load_checkpoint(self, step)
        return found

    @property
    def evaluations(self) -> tuple[int, ...]:
        """Steps at which the run is evaluated, rising, from 0 to `n_steps`."""
        return (*range(0, self.n_steps, self.evaluate_every), self.n_steps)

    @property
    def pieces(self) -> list[Piece]:
        """Which teacher checkpoint supervises which steps, see `Schedule.pieces`; empty for cross-entropy."""
        if not isinstance(self.supervision, Distillation):
            return []
        return self.supervision.schedule.pieces(self.supervision.teacher.checkpoints, self.n_steps)


@dataclass(frozen=True)
class Probe(Spec):
    """A measurement of one checkpoint; see `pdlib.probes`.

    >>> from pdlib import Softness
    >>> isinstance(Softness(), Probe)
    True
    """

    def check(self, training: Training) -> None:
        """Raise `SpecError` if the training's task or network lacks what is measured; `rows` relies on it."""

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return table rows (without the column `step`) for one checkpoint of a training.

        `device` is where the network predicts; a probe that looks inside it computes on the CPU.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Measurement(Spec):
    """A probe applied to checkpoints of a training; step 0 is the untrained network.

    Raises
    ------
    SpecError
        If a step is not among the training's checkpoints: a missing checkpoint is never skipped; or if the training lacks
        what the probe measures.

    >>> from pdlib import MLP, SGD, Softness, SparseParity
    >>> spec = Training(SparseParity(8, 2), MLP(4), SGD(0.1), n_steps=50, evaluate_every=25)
    >>> Measurement(spec, Softness(), (0, 50)).steps
    (0, 50)
    """

    training: Training
    probe: Probe
    steps: Several[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = sorted(set(self.steps) - {0, *self.training.checkpoints})
        of = self.training
        kept = f"checkpoints of the training, every {of.checkpoint_every} up to {of.n_steps}"
        require(not missing, f"steps {missing}", kept)
        self.probe.check(self.training)


@dataclass(frozen=True)
class Calculation(Spec):
    """A table computed from its own fields alone, nothing trained elsewhere: see `pdlib.theory`.

    >>> from pdlib import FourierGap
    >>> [row["support_size"] for row in FourierGap(9).rows()]
    [2, 4]
    """

    @property
    def work(self) -> float:
        """Roughly how many multiply-adds it takes: the engine starts workers for heavy ones only."""
        return 1e6

    def rows(self) -> list[dict[str, Any]]:
        """Return the table's rows."""
        raise NotImplementedError


Run = Training | Measurement | Calculation


def ancestors(spec: Run) -> Iterator[Training]:
    """Yield the trainings whose checkpoints `spec` needs: a measurement's training, a student's teacher if it is one."""
    if isinstance(spec, Measurement):
        yield spec.training
    elif isinstance(spec, Training) and isinstance(spec.supervision, Distillation):
        teacher = spec.supervision.teacher
        yield from [teacher] if isinstance(teacher, Training) else []  # published checkpoints need no run
