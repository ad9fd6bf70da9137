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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from pdlib.models.huggingface import WEIGHTS, described, load_pretrained, weight_files
from pdlib.models.transformer import Transformer
from pdlib.specs import Checkpoints, Model, Parameters, SpecError, Task, Teacher, require
from pdlib.store import StoreError
from pdlib.text.corpus import Corpus
from pdlib.text.hub import Files, HubError, opened, parts
from pdlib.text.wordpiece import VOCABULARIES, of_files

# Of the checkpoint that was read last: the blocks of a student's labels go through one after another.
_read_last: dict[tuple[str, int], Parameters] = {}


@dataclass(frozen=True)
class PublishedCheckpoints(Teacher):
    """A published network at several steps of its training, to be made by `PublishedCheckpoints.prepare`.

    Nothing is trained, and no more than one checkpoint is on the disk at a time: it is fetched when labels of it are wanted
    first, read into memory and deleted.

    Parameters
    ----------
    task
        What is asked: a task on a `Corpus` whose tokens are the checkpoints', by the same numbers.
    model
        The network, the same at all steps.
    repositories
        A URI a step, as `pdlib.text.hub` describes: `hub:REPO@REVISION`, or `folder:PATH`.
    steps
        Their steps, rising.
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
    repositories: tuple[str, ...]
    steps: tuple[int, ...]
    contents: tuple[str, ...]

    def __post_init__(self) -> None:
        _corpus(self.task)
        require(isinstance(self.model, Transformer), f"model = {self.model!r}", "a Transformer")
        for name in ("repositories", "steps", "contents"):
            value = getattr(self, name)
            require(
                type(value) is tuple and len(value) == len(self.repositories) > 0,
                f"{name} = {value!r}",
                "a tuple with an entry for each step, at least one",
            )
        for i, step in enumerate(self.steps):
            require(
                type(step) is int and step > (self.steps[i - 1] if i else 0),
                f"steps = {self.steps!r}",
                "whole numbers of at least 1, rising",
            )
        for uri, content in zip(self.repositories, self.contents, strict=True):
            length = 40 if parts(uri)[0] == "hub" else 32
            require(
                isinstance(content, str) and re.fullmatch(rf"[0-9a-f]{{{length}}}", content) is not None,
                f"content {content!r} of {uri}",
                f"{length} hexadecimal digits, as PublishedCheckpoints.prepare gives them",
            )
        self.model.check(self.task)
        assert isinstance(self.model, Transformer)
        require(
            self.task.n_classes == self.model.vocabulary,
            f"a task of {self.task.n_classes} classes",
            f"as many as the network's vocabulary, {self.model.vocabulary}",
        )

    @classmethod
    def prepare(cls, task: Task, repositories: Sequence[str], steps: Sequence[int]) -> PublishedCheckpoints:
        """Return the teacher of some checkpoints, as their URIs mean them now.

        Of the hub only settings and vocabularies are fetched, not weights.

        Parameters
        ----------
        task, repositories, steps
            As of `PublishedCheckpoints`.

        Raises
        ------
        HubError
            If there is no such repository, revision, folder or file, or the hub cannot be reached.
        SpecError
            If a vocabulary is not the corpus's, which names the first token that differs; if a `Transformer` cannot express
            a network; if they are several networks; or if the task is not one for them.
        """
        corpus = _corpus(task)
        require(len(repositories) > 0, "repositories = ()", "at least one URI")
        models, contents = [], []
        for uri in repositories:
            with opened(uri) as files:
                models.append(_network(files, corpus, task))
                contents.append(_content(files))
            _check_same(uri, models[-1], models[0])
        return cls(task, models[0], tuple(repositories), tuple(steps), tuple(contents))

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """The steps."""
        return self.steps

    def parameters(self, step: int, store: Checkpoints) -> Parameters:
        """Return the parameters at a step, fetched and checked unless they were the last that were asked for.

        Parameters
        ----------
        step
            One of `steps`.
        store
            Not used: nothing is kept there but the labels.

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
            found = self._fetched(self.steps.index(step))
            _read_last[self.fingerprint, step] = found
        return found

    def _fetched(self, i: int) -> Parameters:
        corpus, uri = _corpus(self.task), self.repositories[i]
        corpus.wordpiece()  # at hand before files are held: its vocabulary may have to be fetched too
        with opened(uri) as files:
            now = _content(files)
            if now != self.contents[i]:
                raise _changed(uri, now, self.contents[i])
            _check_same(uri, _network(files, corpus, self.task), self.model)
            with _about(uri):
                for name in weight_files(files.folder, _first_weights(files)):
                    files.fetch(name)
                return load_pretrained(files.folder)[1]


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


def _network(files: Files, corpus: Corpus, task: Task) -> Transformer:
    """Return the network of published files, whose vocabulary is the corpus's."""
    files.fetch("config.json")
    with _about(files.uri):
        model = described(files.folder)
    theirs, ours = of_files(files).pieces, corpus.wordpiece().pieces
    for i, piece in enumerate(ours):
        other = repr(theirs[i]) if i < len(theirs) else "missing"
        require(
            i < len(theirs) and theirs[i] == piece,
            f"{files.uri}: token {i} is {other}",
            f"{piece!r}, as in the vocabulary of {', '.join(corpus.texts)}",
            f"Corpus.prepare with the tokenizer {files.uri!r} takes the checkpoint's.",
        )
    n = max(len(ours), task.vocabulary)  # a task may add tokens behind those of its source
    require(
        len(theirs) <= n,
        f"{files.uri}: token {n} is {theirs[n] if n < len(theirs) else ''!r}",
        f"{n} tokens, as many as the task has",
        f"Corpus.prepare with the tokenizer {files.uri!r} takes the checkpoint's.",
    )
    return model


def _content(files: Files) -> str:
    """The commit of a revision, or the digest of what is read of a folder."""
    if files.commit:
        return files.commit
    with _about(files.uri):
        first = _first_weights(files)
        read = {"config.json", files.first(VOCABULARIES), first, *weight_files(files.folder, first)}
    return files.digest(read)


def _changed(uri: str, now: str, expected: str) -> HubError:
    kind, name, _ = parts(uri)
    what = "revision is the commit" if kind == "hub" else "files have the digest"
    remedy = f"Prepare one of 'hub:{name}@{expected}', which never moves" if kind == "hub" else "Restore them"
    return HubError(
        f"{uri}: its {what} {now}. Expected {expected}, what it was when the teacher was prepared. {remedy}, or "
        "PublishedCheckpoints.prepare for a teacher of what it is now."
    )


def _first_weights(files: Files) -> str:
    """The name of the file that holds the weights, or names those that do; an index is fetched."""
    name = files.first(WEIGHTS)
    if name.endswith(".json"):
        files.fetch(name)
    return name


def _check_same(uri: str, model: Model, expected: Model) -> None:
    require(
        model == expected,
        f"{uri}: a network {model}",
        f"that of the teacher's first step, {expected}",
        "A teacher is one network at several steps.",
    )


@contextmanager
def _about(uri: str) -> Iterator[None]:
    """Say in an error where the files come from, since they may be gone by then."""
    try:
        yield
    except HubError:
        raise
    except (SpecError, StoreError) as error:
        raise type(error)(f"{uri}: {error}") from error
