"""A schedule of teachers in Hugging Face's trainers: who teaches which step, resumed bit for bit, or refused before."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # as other tests have it; the local hub is allowed by its test

import pytest
import tiny
import torch
import transformers
from datasets import Dataset
from safetensors.torch import load_file, save_file
from test_published import REPO, commit_of, serving
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from pdlib import TeacherSchedule
from pdlib.files import DamagedError
from pdlib.models.mlp import MLP
from pdlib.optimizers import SGD
from pdlib.schedules import EqualSplit, Explicit, Gated, KappaSplit, MultiplesSplit, OneShot, Progressive
from pdlib.specs import Distillation, Schedule, SpecError, Training
from pdlib.text.hub import HubError

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

ROOT = Path(__file__).resolve().parents[1]
STEPS, N = (100, 200, 300), 9  # of the teacher, and of a training
WORDS = ("[PAD]", "[EOS]", "the", "a", "cat", "dog", "sees", "and", "hears", "no", "two")
SPLIT = EqualSplit(3)
URIS = {step: f"folder:teacher/checkpoint-{step}" for step in STEPS}
AT = re.escape(f"folder:teacher/checkpoint-{STEPS[1]}")


def tokenizer(words: tuple[str, ...] = WORDS) -> Any:
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[PAD]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", eos_token="[EOS]", padding_side="left"
    )


def network(seed: int, **changes: Any) -> Any:
    ends = {"bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    size = {"vocab_size": len(WORDS), "n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 2}
    torch.manual_seed(seed)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**(size | ends | changes))).eval()


def written(folder: str, module: Any, words: tuple[str, ...] = WORDS) -> None:
    module.save_pretrained(folder)
    tokenizer(words).save_pretrained(folder)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for step in STEPS:
        written(str(root / f"teacher/checkpoint-{step}"), network(step))
    written(str(root / "student"), network(0))
    # more than nine batches: resumed at the very end of an epoch, the trainer itself draws other random numbers
    lines = [json.dumps({"prompt": " ".join((WORDS[2:] * 10)[i : i + 2])}) for i in range(80)]
    (root / "prompts.jsonl").write_text("\n".join(lines))
    return root


@pytest.fixture(autouse=True)
def here(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of three checkpoints of a tiny GPT-2, a student and prompts, to work in and to damage."""
    shutil.copytree(_made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PDLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "here"


# ------------------------------------------------------------------ the examples, as printed


def printed(page: str, word: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if word in block)
    return example


# Each script in a process of its own, forked from one that has loaded what they import.
FORKS = """
import os, sys, traceback
import datasets, pdlib.training.teacher_schedule, transformers.trainer, trl.trainer.distillation_trainer
for script in sys.argv[1:]:
    if not (child := os.fork()):
        try:
            exec(compile(open(script).read(), script, "exec"), {"__name__": "__main__"})
        except BaseException as error:
            open(f"{script}.error", "w").write("".join(traceback.format_exception(error)))
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
KILL = """
import os, signal, transformers
class Killed(transformers.TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, **_):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)
trainer.add_callback(Killed())
trainer.train()
"""


def test_the_example_runs_as_printed_and_killed_and_resumed_ends_with_the_same_student(here: Path) -> None:
    example = printed("README.md", "DistillationTrainer")
    assert example == printed("book/use.md", "DistillationTrainer")
    resumed = example.replace("train()", "train(resume_from_checkpoint=True)")
    scripts = {
        "whole": example,
        "killed": example.replace("trainer.train()", KILL).replace('"run"', '"cut"'),
        "resumed": resumed.replace('"run"', '"cut"'),
        "other": resumed.replace("EqualSplit(3)", "EqualSplit(1)"),
    }
    for name, code in scripts.items():
        (here / name).write_text(code)
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", FORKS, *scripts]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    errors = {path.stem: path.read_text() for path in here.glob("*.error")}
    ended = [int(status) for status in re.findall(r"^-?\d+$", done.stdout, re.MULTILINE)]
    assert ended == [0, -signal.SIGKILL, 0, 1], errors
    assert f"SpecError: a training resumed at step {N}: schedule = " in errors["other"]
    students = [Path(run, f"checkpoint-{N}/model.safetensors").read_bytes() for run in ("run", "cut")]
    assert students[0] == students[1]
    assert students[0] != Path("run/checkpoint-4/model.safetensors").read_bytes()  # it learns


# ------------------------------------------------------------------ a trainer of one's own


class Watching(transformers.TrainerCallback):
    """Which checkpoint's weights the teacher has at each step, by what it holds; stops at one step as if it were killed."""

    def __init__(self, teacher: Any, stop: int = -1) -> None:
        self.teacher, self.stop, self.seen = teacher, stop, dict[int, int]()
        self.schedule: Any = None
        self.known = {step: load_file(f"teacher/checkpoint-{step}/model.safetensors") for step in STEPS}

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        held = self.teacher.state_dict()
        (self.seen[state.global_step],) = (
            step
            for step, weights in self.known.items()
            if all(torch.equal(held[k], v) for k, v in weights.items())
        )
        if state.global_step == self.stop:
            raise KeyboardInterrupt


def trained(
    schedule: Schedule | None = SPLIT, *, uris: Any = URIS, out: str = "out", stop: int = -1, n: int = N,
    resume: Any = None,
) -> tuple[Any, dict[int, int]]:  # fmt: skip
    """A student of the guide's own trainer, and who taught it; no schedule: the final checkpoint all along."""
    rows = torch.arange(40).view(10, 4).remainder(len(WORDS)).tolist()
    args = transformers.TrainingArguments(
        out, max_steps=n, save_steps=1, per_device_train_batch_size=2, learning_rate=0.01, use_cpu=True, report_to=[],
        disable_tqdm=True, seed=3,
    )  # fmt: skip
    names = {
        "teacher": transformers.AutoModelForCausalLM.from_pretrained("teacher/checkpoint-300"),
        "student": network(0), "args": args, "data": Dataset.from_dict({"input_ids": rows}), "uris": uris,
    }  # fmt: skip
    code = printed("book/use.md", "class Distilled")
    *_, before, last = code.rstrip().splitlines()
    assert (before, last) == (
        "trainer.add_callback(TeacherSchedule(teacher, EqualSplit(3), uris))",
        "trainer.train()",
    )
    exec(code.replace(f"{before}\n{last}\n", ""), names)
    trainer, watching = names["trainer"], Watching(names["teacher"], stop)
    if schedule:
        watching.schedule = TeacherSchedule(names["teacher"], schedule, uris)
        trainer.add_callback(watching.schedule)
    trainer.add_callback(watching)
    try:
        trainer.train(resume_from_checkpoint=resume)
    except KeyboardInterrupt:
        assert stop >= 0
    return trainer, watching.seen


def same(one: Any, other: Any) -> bool:
    """Whether two students are equal bit for bit."""
    left, right = one.model.state_dict(), other.model.state_dict()
    return left.keys() == right.keys() and all(torch.equal(v, right[k]) for k, v in left.items())


@pytest.mark.parametrize(
    "schedule",
    [
        OneShot(), Progressive(3, 2), Explicit((100, -1), (4,)), Explicit((300, 100, 200), (1, 5, 3)), EqualSplit(3),
        KappaSplit(3, kappa=0.04), MultiplesSplit(100, kappa=0.02),
    ],
    ids=lambda s: s.fingerprint[:4] + type(s).__name__,
)  # fmt: skip
def test_the_teacher_of_each_step_is_that_of_a_training_of_ours(schedule: Schedule) -> None:
    teacher = Training(tiny.TASK, MLP(4), SGD(0.1), n_steps=300, evaluate_every=300, checkpoint_every=100)
    ours = Training(tiny.TASK, MLP(4), SGD(0.1), N, N, supervision=Distillation(teacher, schedule))
    expected = {step: piece.checkpoint for piece in ours.pieces for step in range(piece.start, piece.stop)}
    assert trained(schedule)[1] == expected
    assert len(expected) == N


@pytest.mark.parametrize("stop", [3, 4], ids=["as the teacher changes", "between changes"])
def test_a_training_that_is_interrupted_and_resumed_is_the_uninterrupted_one(
    stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = transformers.GPT2LMHeadModel.from_pretrained

    def drawing(*arguments: Any, **named: Any) -> Any:
        torch.rand(
            1
        )  # as a network may that initializes itself, at a step that depends on where a training began
        return read(*arguments, **named)

    monkeypatch.setattr(transformers.GPT2LMHeadModel, "from_pretrained", drawing)
    whole, seen = trained(out="whole")
    _, before = trained(stop=stop)
    again, after = trained(resume=f"out/checkpoint-{stop}")
    assert (max(before), min(after)) == (stop, stop)
    assert before | after == seen
    assert same(again, whole)
    other, _ = trained(None, resume=f"out/checkpoint-{stop}")  # the control
    assert not same(other, whole)


def test_weights_are_written_in_place_and_two_checkpoints_are_in_memory_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive: list[Any] = []
    read = transformers.GPT2LMHeadModel.from_pretrained

    def counted(*arguments: Any, **named: Any) -> Any:
        gc.collect()
        assert sum(module() is not None for module in alive) <= 1, "the teacher, and none that was copied"
        found = read(*arguments, **named)
        alive.append(weakref.ref(found[0] if isinstance(found, tuple) else found))
        return found

    monkeypatch.setattr(transformers.GPT2LMHeadModel, "from_pretrained", counted)
    addresses = []

    def at(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        assert self.teacher.lm_head.weight is self.teacher.transformer.wte.weight
        addresses.append([p.data_ptr() for p in self.teacher.parameters()])

    monkeypatch.setattr(Watching, "on_step_end", at)
    trained()
    assert len(alive) == 1 + len(STEPS)
    assert len(addresses) == N
    assert all(found == addresses[0] for found in addresses)


def test_revisions_are_fetched_one_ahead_and_a_branch_that_moves_is_another_teacher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = {f"step-{step}": Path(f"teacher/checkpoint-{step}").resolve() for step in STEPS}
    uris = {step: f"hub:{REPO}@step-{step}" for step in STEPS}
    sent: dict[int, list[str]] = {}
    with serving(folders, monkeypatch) as hub:

        def fetching(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
            for waiting in self.schedule._ahead.values():
                waiting.result()
            sent[state.global_step] = [folder for folder, name in hub.sent if name == "model.safetensors"]

        monkeypatch.setattr(Watching, "on_step_end", fetching)
        TeacherSchedule(network(0), EqualSplit(3), uris)
        assert hub.weights() == [], "weights wait until they are nearly due"
        _, seen = trained(uris=uris)
        assert list(seen.values()) == [100] * 3 + [200] * 3 + [300] * 3
        names = [f"checkpoint-{step}" for step in STEPS]
        assert [sent[step] for step in (1, 3, 4, N)] == [names[:2], names[:2], names, names]
        state = json.loads(Path(f"out/checkpoint-{N}/trainer_state.json").read_text())
        manifest = state["stateful_callbacks"]["teacher_schedule"]
        assert manifest["checkpoint 200"] == commit_of(folders["step-200"])
        assert (manifest["n_steps"], manifest["schedule"]["kind"]) == (N, "EqualSplit")
        hub.revisions["step-200"] = folders["step-300"]
        with pytest.raises(SpecError, match="resumed at step 4: checkpoint 200 = '"):
            trained(uris=uris, resume="out/checkpoint-4")
        with pytest.raises(HubError, match=r"step-400: the hub did not give it. RevisionNotFound"):
            trained(uris=uris | {400: f"hub:{REPO}@step-400"})


# ------------------------------------------------------------------ what is refused


def test_a_schedule_that_the_training_or_the_teacher_cannot_have_is_refused_before_the_first_step() -> None:
    for schedule, said in (
        (Progressive(3, 4), r"N T = 3 x 4 = 12 steps: expected at most the run's n_steps = 9"),
        (Explicit((100, 200), (9,)), r"9 steps before the last checkpoint: expected fewer"),
        (EqualSplit(2), r"teacher checkpoints at \[150\]: expected steps that the teacher keeps"),
        (Gated((100, -1), 1, 3), r"schedule Gated\(.*: expected one that does not ask the student"),
    ):
        with pytest.raises(SpecError, match=said):
            trained(schedule)
    assert not Path("out").exists() or not list(Path("out").iterdir())


def test_resuming_with_other_teachers_or_with_none_before_is_refused() -> None:
    trained(n=4, schedule=Progressive(3, 1))
    trained(None, n=4, out="plain")
    for changed, said in (
        ({"schedule": Progressive(1, 1)}, "schedule = {.*'n_checkpoints': 1.*expected {.*'n_checkpoints': 3"),
        ({"n": 5}, "n_steps = 5: expected 4"),
        ({"uris": URIS | {200: URIS[100]}}, "checkpoint 200 = '.*': expected '"),
        ({"schedule": Explicit((100, -1), (2,)), "uris": {100: URIS[100], 300: URIS[300]}}, "checkpoint 200 = 'missing'"),
        ({"resume": "plain/checkpoint-2"}, "whose state names no teachers: expected one that began under"),
    ):  # fmt: skip
        how = {"n": 4, "schedule": Progressive(3, 1), "resume": "out/checkpoint-2"} | changed
        with pytest.raises(SpecError, match=f"a training resumed at step 2.*{said}"):
            trained(**how)
    Path("teacher").rename("moved")  # the control: the same files elsewhere are the same teachers
    shutil.copytree("moved", "teacher")
    moved = {step: uri.replace("teacher", "moved") for step, uri in URIS.items()}
    assert trained(Progressive(3, 1), n=4, uris=moved, resume="out/checkpoint-2")[1] == {2: 300, 3: 300}


def other_tokens() -> None:
    written("teacher/checkpoint-200", network(200), (*WORDS[:-2], *WORDS[:-3:-1]))


def no_weights() -> None:
    Path("teacher/checkpoint-200/model.safetensors").unlink()


def bert() -> None:
    config = transformers.BertConfig(vocab_size=len(WORDS), hidden_size=8, num_attention_heads=2)
    transformers.BertForMaskedLM(config).save_pretrained("teacher/checkpoint-200")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda: network(0, n_layer=2).save_pretrained("teacher/checkpoint-200"), "n_layer = 2: expected 1"),
        (lambda: network(0, n_head=4).save_pretrained("teacher/checkpoint-200"), "n_head = 4: expected 2"),
        (lambda: network(0, vocab_size=12).save_pretrained("teacher/checkpoint-200"), "vocab_size = 12: expected 11"),
        (bert, ".* = .*: expected "),
        (other_tokens, "token no = 10: expected 9"),
        (no_weights, "without weights: expected one of model.safetensors"),
        (lambda: shutil.rmtree("teacher/checkpoint-200"), "there is no such folder"),
        (lambda: Path("teacher/checkpoint-200/config.json").write_text("{"), "transformers cannot open it"),
    ],
    ids=["layers", "heads", "vocabulary", "kind", "tokens", "no weights", "no folder", "no settings"],
)  # fmt: skip
def test_a_checkpoint_that_is_not_one_of_the_same_teacher_is_refused_at_once(damage: Any, said: str) -> None:
    damage()
    teacher = transformers.AutoModelForCausalLM.from_pretrained("teacher/checkpoint-300")
    with pytest.raises((SpecError, DamagedError), match=f"{AT}:? {said}"):
        TeacherSchedule(teacher, EqualSplit(3), URIS)


def test_a_teacher_of_another_size_than_all_its_checkpoints_is_refused() -> None:
    with pytest.raises(SpecError, match="checkpoint-100: n_layer = 1: expected 2"):
        TeacherSchedule(network(0, n_layer=2), EqualSplit(3), URIS)
    for uris, said in (
        ({}, "expected a URI for each"),
        ({0: URIS[100]}, "step 0 of folder:.*whole number from 1"),
    ):
        with pytest.raises(SpecError, match=said):
            TeacherSchedule(network(0), EqualSplit(3), uris)


def test_a_checkpoint_that_changes_or_lacks_a_tensor_stops_the_training_where_it_is_due() -> None:
    path = Path("teacher/checkpoint-200/model.safetensors")
    callback = TeacherSchedule(network(0), EqualSplit(3), URIS)
    whole = load_file(path)
    save_file({k: v for k, v in whole.items() if "ln_f" not in k}, path, metadata={"format": "pt"})
    with pytest.raises(HubError, match=f"{AT}: its content is .* as when the schedule was made"):
        callback._fetched(200)
    with pytest.raises(
        SpecError, match=r"without \['transformer.ln_f.bias', .*expected all tensors of a GPT2LMHeadModel"
    ):
        trained()


@pytest.fixture
def sharded() -> Iterator[Any]:
    init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield fully_shard(network(0), mesh=torch.distributed.device_mesh.init_device_mesh("cpu", (2,)))
    destroy_process_group()


def marked(name: str, *, tensor: bool = False) -> Any:
    """A teacher as a package that is not installed here would leave it."""
    module = network(0)
    setattr(next(module.parameters()) if tensor else module, name, 1)
    return module


def test_a_teacher_whose_weights_cannot_be_written_over_is_refused(sharded: Any) -> None:
    for teacher, said in (
        (marked("hf_quantizer"), "a teacher that is quantized: expected plain weights"),
        (marked("peft_config"), "a teacher with adapters of PEFT"),
        (marked("ds_id", tensor=True), "a teacher sharded by DeepSpeed's stage 3"),
        (sharded, "a teacher sharded by FSDP"),
        (network(0).to("meta"), "a teacher whose weights are not in memory"),
        (torch.nn.Linear(2, 2), r"teacher = Linear\(.*expected a PreTrainedModel"),
        (None, "teacher = None: expected a PreTrainedModel"),
    ):
        with pytest.raises(SpecError, match=said):
            TeacherSchedule(teacher, EqualSplit(3), URIS)
    callback = TeacherSchedule(teacher := network(0), EqualSplit(3), URIS)
    teacher.peft_config = {}  # since: a trainer prepares its teacher after the callback was made
    with pytest.raises(SpecError, match="adapters of PEFT"):
        callback.on_train_begin(None, transformers.TrainerState(max_steps=N), None)
    assert TeacherSchedule(torch.nn.DataParallel(whole := network(0)), EqualSplit(3), URIS).teacher is whole
