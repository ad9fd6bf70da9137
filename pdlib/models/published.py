"""Checkpoints that others published, as a teacher: a schedule over them is a schedule like any other.

::

    teacher = PublishedCheckpoints.prepare(
        task, [f"hub:google/multiberts-seed_0-step_{k}k@main" for k in (200, 400, 600)], (200_000, 400_000, 600_000)
    )
    supervision = Distillation(teacher, EqualSplit(3), targets="hard")

The task is one on a corpus of the checkpoints' own vocabulary: `Corpus.prepare(texts, tokenizer)`, whose tokenizer is one
of these URIs. Networks are those that `pdlib.models.huggingface` reads, GPT-2 and BERT; any other architecture is an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from pdlib.models.huggingface import described, load_pretrained
from pdlib.models.transformer import Transformer
from pdlib.specs import Model, Parameters, Several, SpecError, Task, Teacher, require
from pdlib.text.corpus import Corpus
from pdlib.text.hub import HubError, about, fetched, parts
from pdlib.text.wordpiece import of_folder

# Of the checkpoint that was read last: the blocks of a student's labels go through one after another.
_read_last: dict[tuple[str, int], Parameters] = {}


@dataclass(frozen=True)
class PublishedCheckpoints(Teacher):
    """A published network at several steps of its training, to be made by `PublishedCheckpoints.prepare`.

    Nothing is trained: a checkpoint is fetched when labels of it are wanted first, and no more than one is in memory.

    Parameters
    ----------
    task
        What is asked: a task on a `Corpus` whose tokens are the checkpoints', by the same numbers.
    model
        The network, the same at all steps.
    repositories, steps
        URIs, as `pdlib.text.hub` describes them, and their steps, rising.
    contents
        What each URI meant: the commit of a revision, or a digest of the files of a folder that are read. A branch or tag
        that moves, and a folder whose files change, is an error.

    Raises
    ------
    SpecError
        If there are not as many URIs as steps, or the task's classes, tokens or positions are not the network's.

    Examples
    --------
    >>> import tempfile
    >>> from unittest.mock import patch
    >>> from pdlib.models.huggingface import save_pretrained
    >>> from pdlib.models.transformer import bert
    >>> from pdlib.tasks.masked import MaskedPrediction
    >>> folder = tempfile.mkdtemp()
    >>> with patch.dict("os.environ", PDLIB_CACHE=tempfile.mkdtemp()):      # a cache of its own
    ...     corpus = Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20)
    ...     with open(f"{folder}/vocab.txt", "w", encoding="utf-8") as file:
    ...         _ = file.write(corpus.wordpiece().text)
    ...     model = bert(1, 2, head_size=4, n_positions=16, vocabulary=300)
    ...     save_pretrained(folder, model, model.initial(n_inputs=16, n_classes=300, seed=0))
    ...     teacher = PublishedCheckpoints.prepare(MaskedPrediction(corpus), [f"folder:{folder}"], [1000])
    >>> teacher.checkpoints, teacher.model == model
    ((1000,), True)
    """

    version: ClassVar[int] = 1
    repositories: Several[str]
    steps: tuple[int, ...]
    contents: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        _corpus(self.task)
        require(isinstance(self.model, Transformer), f"model = {self.model!r}", "a Transformer")
        for name in ("repositories", "steps", "contents"):
            value = getattr(self, name)
            same = len(value) == len(self.repositories)
            require(same, f"{name} = {value!r}", "a tuple with an entry for each step")
        rising = all(a < b for a, b in pairwise((0, *self.steps)))
        require(rising, f"steps = {self.steps!r}", "whole numbers of at least 1, rising")
        for uri, content in zip(self.repositories, self.contents, strict=True):
            length = 40 if parts(uri)[0] == "hub" else 32
            require(
                re.fullmatch(rf"[0-9a-f]{{{length}}}", content) is not None,
                f"content {content!r} of {uri}",
                f"{length} hexadecimal digits, as PublishedCheckpoints.prepare gives them",
            )
        self.model.check(self.task)
        assert isinstance(self.model, Transformer)
        expected = f"as many as the network's vocabulary, {self.model.vocabulary}"
        n = self.task.n_classes
        require(n == self.model.vocabulary, f"a task of {n} classes", expected)

    @classmethod
    def prepare(cls, task: Task, repositories: Sequence[str], steps: Sequence[int]) -> PublishedCheckpoints:
        """Return the teacher of some checkpoints, as their URIs mean them now.

        Of the hub only settings and vocabularies are fetched, not weights.

        Raises
        ------
        HubError
            If there is no such repository, revision, folder or file, or the hub cannot be reached.
        SpecError
            If a vocabulary is not the corpus's, which names the first token that differs; if a `Transformer` cannot express
            a network; if they are several networks; or if the task is not one for them.
        """
        model, contents = None, []
        for uri in repositories:
            folder, content = fetched(uri)
            model = _network(folder, uri, task, model)
            contents.append(content)
        if model is None:
            raise SpecError("repositories = (): expected at least one URI.")
        return cls(task, model, tuple(repositories), tuple(steps), tuple(contents))

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The steps."""
        return self.steps

    def parameters(self, step: int, store: Any) -> Parameters:
        """Return the parameters at a step, fetched and checked unless they were the last that were asked for.

        Raises
        ------
        HubError
            If they cannot be had, or are not what they were when the teacher was prepared.
        DamagedError
            If a file is not whole.
        """
        require(step in self.steps, f"step {step}", f"one of {', '.join(map(str, self.steps))}")
        found = _read_last.get((self.fingerprint, step))
        if found is None:
            _read_last.clear()  # first: there is room for one
            i = self.steps.index(step)
            found = _read_last[self.fingerprint, step] = self._fetched(self.repositories[i], self.contents[i])
        return found

    def _fetched(self, uri: str, expected: str) -> Parameters:
        folder, now = fetched(uri)  # settings first: what has changed is noticed before anything large comes
        if now != expected:
            raise HubError(
                f"{uri}: its content is {now}. Expected {expected}, what it was when the teacher was prepared. Name a "
                "commit instead of a branch, restore the files, or PublishedCheckpoints.prepare for a teacher of what it is."
            )
        _network(folder, uri, self.task, self.model)
        with about(uri):
            return load_pretrained(fetched(uri, weights=True)[0])[1]


def _corpus(task: Task) -> Corpus:
    source = getattr(task, "source", None)
    require(
        isinstance(source, Corpus),
        f"published checkpoints as a teacher of {task!r}",
        "a task on a Corpus, whose tokens have names that can be compared with theirs",
        "Such as MaskedPrediction(Corpus.prepare(...)).",
    )
    assert isinstance(source, Corpus)
    return source


def _network(folder: Path, uri: str, task: Task, first: Model | None) -> Transformer:
    """Return the network of published files, whose vocabulary is the corpus's, and which is that of the first step."""
    corpus = _corpus(task)
    remedy = f"Corpus.prepare with the tokenizer {uri!r} takes the checkpoint's."
    with about(uri):
        model = described(folder)
        theirs = of_folder(folder).pieces
        for i, piece in enumerate(corpus.wordpiece().pieces):
            other = repr(theirs[i]) if i < len(theirs) else "missing"
            expected = f"{piece!r}, as in the vocabulary of {', '.join(corpus.texts)}"
            require(other == repr(piece), f"token {i} is {other}", expected, remedy)
        n = max(corpus.n_tokens, task.vocabulary)  # a task may add tokens behind those of its source
        more = f"{len(theirs)} tokens, the last {theirs[-1]!r}"
        require(len(theirs) <= n, more, f"{n}, as many as the task has", remedy)
        one = f"that of the teacher's first step, {first}"
        require(
            first in (None, model), f"a network {model}", one, "A teacher is one network at several steps."
        )
    return model
