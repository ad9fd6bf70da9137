"""Teacher checkpoints over time in Hugging Face's trainers: the due one's weights are written into the teacher in place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

from pdlib.install import optional
from pdlib.models.huggingface import reading
from pdlib.specs import Piece, Schedule, checked, require
from pdlib.text.hub import WEIGHTS, HubError, about, fetched, parts

transformers = optional("transformers", "transformers")

MANIFEST = "teacher_schedule"  # where the state of a trainer says which teachers it has
# Settings that change no output of a network, or that a network in memory need not have.
ASIDE = {"_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache"}
ASIDE |= {"bos_token_id", "eos_token_id", "pad_token_id"}


class TeacherSchedule(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
    """A callback of a `transformers.Trainer` that holds a schedule over a teacher's checkpoints.

    Before the step at which another checkpoint is due its weights are copied into `teacher`, in place. The step is the
    trainer's own count of optimizer steps, so that a resumed training is right by itself. Besides the teacher one checkpoint
    is in memory, while it is copied; the next one is fetched meanwhile.

    The `trainer_state.json` of each of the trainer's checkpoints says what taught it, as `teacher_schedule`: the schedule,
    and what each checkpoint held. A training that is resumed under anything else stops before its first step.

    Parameters
    ----------
    teacher
        The network that the trainer's loss asks, such as the `teacher_model` of TRL's `DistillationTrainer`: a
        `PreTrainedModel`, whole in the memory of each process.
    schedule
        Any of `pdlib.schedules`; its student steps are the trainer's optimizer steps.
    checkpoints
        The teacher's steps, and where each is: `folder:PATH`, or `hub:REPO@REVISION`, which means the commit that it names
        now. Settings and vocabularies are compared at once; weights are fetched when they are nearly due.

    Raises
    ------
    SpecError
        Here if checkpoints differ in settings or tokens, from the teacher or each other, or the teacher is quantized,
        sharded or has adapters; before the first step if the schedule does not fit the training, or a resumed training had
        other teachers.
    HubError
        If there is no such folder, repository or revision, or what it holds has changed since.

    Examples
    --------
    >>> from pdlib import OneShot
    >>> TeacherSchedule(None, OneShot(), {1000: "folder:teacher/checkpoint-1000"})
    Traceback (most recent call last):
    ...
    pdlib.fields.SpecError: teacher = None: expected a PreTrainedModel of transformers, which the trainer's loss asks.
    """

    def __init__(self, teacher: Any, schedule: Schedule, checkpoints: Mapping[int, str]) -> None:
        unwrap = optional("accelerate", "transformers").utils.extract_model_from_parallel
        module = isinstance(teacher, torch.nn.Module)
        self.teacher = unwrap(teacher, keep_torch_compile=False) if module else teacher
        _require_whole(self.teacher)
        self.schedule = checked("schedule", schedule, Schedule)
        require(len(checkpoints) > 0, "checkpoints = {}", "a URI for each step of the teacher")
        self.uris: dict[int, str] = {}
        self.contents: dict[int, str] = {}
        settings: dict[str, Any] = {}  # of the first: the others have the same
        tokens: dict[str, int] = {}
        for step, uri in sorted(checkpoints.items()):
            require(type(step) is int and step > 0, f"step {step!r} of {uri}", "a whole number from 1")
            folder, self.contents[step] = fetched(uri)
            kind, name, _ = parts(uri)
            self.uris[step] = uri if kind == "folder" else f"hub:{name}@{self.contents[step]}"
            there = kind == "hub" or any((folder / group[0]).is_file() for group in WEIGHTS)
            require(there, f"{uri} without weights", f"one of {', '.join(group[0] for group in WEIGHTS)}")
            with reading(uri):
                found, known = _settings(folder, type(self.teacher).config_class), _tokens(folder)
            settings = settings or {**found, **_in_memory(self.teacher)}
            tokens = tokens or known  # a checkpoint may come without its tokenizer
            with about(uri):
                _require_same("", found, settings)
                _require_same("token ", known or tokens, tokens)
        self._pieces: list[Piece] = []
        self._held = 0  # the step whose weights the teacher has
        self._ahead: dict[int, Future[Path]] = {}
        self._pool = ThreadPoolExecutor(1)

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Check the schedule against the training, and a resumed training's teachers; then write the first one."""
        _require_whole(self.teacher)  # the trainer has prepared it meanwhile
        self._pieces = self.schedule.pieces(tuple(self.uris), state.max_steps)
        laid_out = self._pieces[-1].stop == state.max_steps
        require(laid_out, f"schedule {self.schedule}", "one that does not ask the student, such as Explicit")
        now = {"schedule": self.schedule.canonical(), "n_steps": state.max_steps}
        now |= {f"checkpoint {step}": content for step, content in self.contents.items()}
        now = json.loads(json.dumps(now))
        if state.global_step:
            at, before = (
                f"a training resumed at step {state.global_step}",
                state.stateful_callbacks.get(MANIFEST),
            )
            expected = "one that began under a TeacherSchedule"
            require(before is not None, f"{at} whose state names no teachers", expected)
            with about(at):
                _require_same("", now, before)
        state.stateful_callbacks[MANIFEST] = now  # the trainer writes it beside each of its checkpoints
        self._held = 0
        self.on_step_begin(args, state, control)

    def on_step_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        """Write the weights of the checkpoint that is due at `state.global_step`, unless the teacher has them."""
        last = len(self._pieces) - 1
        i = next((i for i, piece in enumerate(self._pieces) if state.global_step < piece.stop), last)
        due = self._pieces[i].checkpoint
        if due == self._held:
            return
        waiting = self._ahead.pop(due, None)
        folder = waiting.result() if waiting else self._fetched(due)
        if i < last:
            following = self._pieces[i + 1].checkpoint
            self._ahead = {following: self._pool.submit(self._fetched, following)}
        self._write(folder, self.uris[due])
        self._held = due

    def _fetched(self, step: int) -> Path:
        folder, content = fetched(uri := self.uris[step], weights=True)
        if content != self.contents[step]:
            raise HubError(
                f"{uri}: its content is {content}. Expected {self.contents[step]}, as when the schedule was made. Restore "
                "it, or begin a new training."
            )
        return folder

    def _write(self, folder: Path, uri: str) -> None:
        kind, how = (
            type(self.teacher),
            {"dtype": "auto", "local_files_only": True, "output_loading_info": True},
        )
        # A network may draw random numbers as it is made: the student's do not depend on when a training was resumed.
        with torch.random.fork_rng(), reading(uri):
            found, report = kind.from_pretrained(str(folder), **how, ignore_mismatched_sizes=True)
        wrong = sorted([*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])])
        expected = f"all tensors of a {kind.__name__}"
        require(not wrong, f"{uri} without {wrong[:3]}, or of another shape", expected)
        self.teacher.load_state_dict(found.state_dict())


def _settings(folder: Path, kind: Any) -> dict[str, Any]:
    said, _ = kind.get_config_dict(str(folder), local_files_only=True)
    found = kind.from_dict(said).to_dict() | {"model_type": said.get("model_type")}
    return {name: value for name, value in found.items() if name not in ASIDE}


def _in_memory(teacher: Any) -> dict[str, Any]:
    return {k: v for k, v in teacher.config.to_dict().items() if k not in ASIDE | {"architectures"}}


def _tokens(folder: Path) -> dict[str, int]:
    if not any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    ):
        return {}
    read = transformers.AutoTokenizer.from_pretrained
    return dict(read(str(folder), local_files_only=True).get_vocab())


def _require_same(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raise `SpecError` that names the first entry in which two records differ."""
    remedy = "The checkpoints are one network at several steps of its training."
    for name in sorted({*found, *expected}):
        one, other = found.get(name, "missing"), expected.get(name, "missing")
        require(one == other, f"{what}{name} = {one!r}", f"{other!r}", remedy)


def _require_whole(teacher: Any) -> None:
    """Raise `SpecError` unless a checkpoint's weights can be written over the teacher's."""
    modules = list(teacher.modules()) if isinstance(teacher, torch.nn.Module) else []
    tensors = [p for module in modules for p in module.parameters(recurse=False)]
    reasons = {
        "that is quantized": getattr(teacher, "hf_quantizer", None) is not None,
        "with adapters of PEFT": hasattr(teacher, "peft_config"),
        "sharded by DeepSpeed's stage 3": any(hasattr(p, "ds_id") for p in tensors),
        "sharded by FSDP": any(isinstance(m, (FSDPModule, FullyShardedDataParallel)) for m in modules),
        "whose weights are not in memory": any(p.is_meta for p in tensors),
    }
    for reason, holds in reasons.items():
        expected = (
            "plain weights, whole in the memory of each process, for a checkpoint's to be written over them"
        )
        require(not holds, f"a teacher {reason}", expected)
    expected = "a PreTrainedModel of transformers, which the trainer's loss asks"
    require(isinstance(teacher, transformers.PreTrainedModel), f"teacher = {teacher!r}", expected)
