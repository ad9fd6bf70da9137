"""Accuracy and loss by part: how well a network predicts each of the texts that its source draws from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from pdlib.sequences import PartedStream
from pdlib.specs import EVALUATION_SEED, Count, Parameters, Probe, SpecError, Training, require
from pdlib.tasks.masked import MaskedPrediction

PREDICTED_AT_ONCE = 2**23  # numbers, 64 MiB


@dataclass(frozen=True)
class PartAccuracy(Probe):
    """Accuracy and loss on held-out sequences, the masks those of the run's evaluation, by the part they come from.

    Table rows, one a part: `part`, from 0; `text`, as the source names it; `accuracy`, over selected positions;
    `loss_nats`, over sequences; `n_sequences`, `n_targets`. Weighted by `n_targets`, the accuracies give that of an
    evaluation on as many sequences.

    >>> import tempfile
    >>> from unittest.mock import patch
    >>> from pdlib import SGD, Corpus, MaskedPrediction, Training, Transformer
    >>> with patch.dict("os.environ", PDLIB_CACHE=tempfile.mkdtemp()):      # a cache of its own
    ...     task = MaskedPrediction(Corpus.prepare("sample:english:60", "trained:300", length=16, held_out=20))
    ...     model = Transformer(1, 2, 4, n_positions=task.n_inputs, vocabulary=task.n_classes)
    ...     spec = Training(task, model, SGD(0.1), n_steps=1, evaluate_every=1)
    ...     rows = PartAccuracy(20).rows(spec, spec.model.initial(task.n_inputs, task.n_classes, seed=0))
    >>> [(row["part"], row["text"], row["n_sequences"]) for row in rows]
    [(0, 'sample:english:60', 20)]
    """

    version: ClassVar[int] = 1
    n_samples: Count = 4096  # sequences, the first of those that networks are evaluated on

    def check(self, training: Training) -> None:
        """See `Probe.check`."""
        task = training.task
        if not isinstance(task, MaskedPrediction) or not task.source.parts:
            raise SpecError(
                f"task {task}: expected masked prediction on a source with parts, such as a Corpus."
            )

    def rows(self, training: Training, parameters: Parameters, device: str = "cpu") -> list[dict[str, Any]]:
        """Return one row a part."""
        task = cast(MaskedPrediction, training.task)
        stream = task.stream(EVALUATION_SEED, "evaluation")
        inputs, classes = stream.examples(0, self.n_samples)
        part_of = cast(PartedStream, stream.source).parts(0, self.n_samples)
        hit, loss = np.empty(len(classes), bool), np.empty(len(classes))
        done = 0
        for rows_of in inputs.slices(max(1, PREDICTED_AT_ONCE // task.n_classes)):
            block = inputs[rows_of]
            values = training.model.logits(parameters, block, device).astype(np.float64)
            now = slice(done, done + len(values))
            values -= values.max(axis=1, keepdims=True)
            hit[now] = values.argmax(axis=1) == classes[now]
            loss[now] = np.log(np.exp(values).sum(axis=1)) - values[np.arange(len(values)), classes[now]]
            done = now.stop
        owner = np.repeat(part_of, inputs.n_targets)
        rows = []
        for part, text in enumerate(task.source.parts):
            members, mine = part_of == part, owner == part
            require(
                bool(mine.any()),
                f"n_samples = {self.n_samples}, of which {int(members.sum())} are of {text}",
                "enough for every part to have a position that is asked for",
                "Raise n_samples.",
            )
            weights = inputs[np.flatnonzero(members)].weights()
            rows.append(
                {
                    "part": part,
                    "text": text,
                    "accuracy": float(hit[mine].mean()),
                    "loss_nats": float((loss[mine] * weights).sum()),
                    "n_sequences": int(members.sum()),
                    "n_targets": int(mine.sum()),
                }
            )
        return rows
