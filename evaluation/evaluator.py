"""The multi-task evaluator, registered in Dassl's EVALUATOR_REGISTRY."""

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from dassl.evaluation import EVALUATOR_REGISTRY, EvaluatorBase
from torch import Tensor
from yacs.config import CfgNode

logger = logging.getLogger(__name__)

METRICS = ("accuracy", "mean_per_class")


class AllClasses(NamedTuple):
    """The one task of an ordinary data set."""

    name: str
    classnames: tuple[str, ...]
    metric: str = "accuracy"


@EVALUATOR_REGISTRY.register()
class MultiTaskClassification(EvaluatorBase):
    """Accuracy or mean per-class recall of each task, and their unweighted mean.

    A sample is predicted among the classes of its own task. Confusion counts are kept, one (C_t, C_t) table of int64
    per task, rows the true classes; and with TEST.PREDICTIONS 12 bytes per sample, its prediction.

    Args:
        lab2cname: class name of each global label; used if there are no `tasks`.
        tasks: objects with `name`, `classnames` and `metric` ("accuracy" or "mean_per_class") in label order; None: one
            task of all classes.

    Attributes:
        task_results: after `evaluate`, a dict per task with its name, metric, value in percent (None without samples)
            and number n of samples.
        predictions: after `evaluate`, with TEST.PREDICTIONS: of each sample, in the order of the images, its label, the
            predicted one, both global, and the softmax probability of the latter within the task, as tensors (N,).
    """

    def __init__(
        self,
        cfg: CfgNode,
        lab2cname: Mapping[int, str] | None = None,
        tasks: Sequence | None = None,
        **kwargs,
    ):
        super().__init__(cfg)
        if not tasks and lab2cname:
            tasks = [AllClasses("all classes", tuple(lab2cname[label] for label in sorted(lab2cname)))]
        self.set_tasks(tasks or ())

    def set_tasks(self, tasks: Sequence) -> None:
        """Evaluate these tasks from now on; raises ValueError for an unknown metric."""
        for task in tasks:
            if task.metric not in METRICS:
                raise ValueError(f"task {task.name!r}: metric is {task.metric!r}, use one of {', '.join(METRICS)}")
        self.tasks = list(tasks)
        sizes = torch.tensor([len(task.classnames) for task in self.tasks], dtype=torch.int64)
        self._task_of_class = torch.arange(len(sizes)).repeat_interleave(sizes)  # (C,)
        self._offsets = sizes.cumsum(0) - sizes  # (T,)
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.task_results: list[dict] = []
        self.predictions: tuple[Tensor, ...] | None = None
        self._batches: list[tuple[Tensor, ...]] = []
        self.confusion = [
            torch.zeros(len(task.classnames), len(task.classnames), dtype=torch.int64) for task in self.tasks
        ]

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Count a batch of logits `mo` (B, C) over all classes, with global labels `gt` (B,), on any device.

        Raises ValueError if the shapes or labels do not fit the tasks, FloatingPointError if logits are not finite.
        """
        if not self.tasks:
            self.set_tasks([AllClasses("all classes", tuple(str(label) for label in range(mo.shape[1])))])
        n_classes = len(self._task_of_class)
        if mo.shape != (len(gt), n_classes):
            raise ValueError(f"logits of shape {tuple(mo.shape)} for {len(gt)} labels and {n_classes} classes")
        label = gt.cpu().long()
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < n_classes:
            raise ValueError(f"labels from {int(label.min())} to {int(label.max())} for {n_classes} classes")

        task = self._task_of_class[label]  # (B,)
        other = (task[:, None] != self._task_of_class).to(mo.device)  # (B, C)
        # On ties argmax returns the first index, whatever the precision and device.
        own = mo.masked_fill(other, -torch.inf)
        prediction = own.argmax(1).cpu()  # (B,)
        finite = mo.masked_fill(other, 0).isfinite().all(1).cpu()  # (B,)
        if not finite.all():
            name = self.tasks[int(task[~finite][0])].name
            raise FloatingPointError(f"logits of {int((~finite).sum())} of {len(gt)} samples are not finite ({name})")

        for t in task.unique().tolist():
            size, mine = len(self.tasks[t].classnames), task == t
            cell = (label[mine] - self._offsets[t]) * size + (prediction[mine] - self._offsets[t])
            self.confusion[t] += cell.bincount(minlength=size * size).view(size, size)
        if self.cfg.TEST.get("PREDICTIONS", False):
            self._batches.append((label.int(), prediction.int(), own.float().softmax(1).amax(1).cpu()))

    def evaluate(self) -> OrderedDict[str, float]:
        """Percentages over the samples so far: accuracy (the mean of the tasks' metrics), error_rate, macro_f1.

        Prints a line per task, then Dassl's `=> result` block. Raises ValueError if there are no samples.
        """
        self._add_other_processes()
        total = sum(int(counts.sum()) for counts in self.confusion)
        if not total:
            raise ValueError("no test samples to evaluate")
        self.task_results = [self._task_result(t) for t in range(len(self.tasks))]
        values = [result["value"] for result in self.task_results if result["n"]]
        f1_scores = [macro_f1(counts) for counts in self.confusion if counts.sum()]
        results = OrderedDict()
        results["accuracy"] = sum(values) / len(values)  # first: what trainer.test() returns
        results["error_rate"] = 100 - results["accuracy"]
        results["macro_f1"] = sum(f1_scores) / len(f1_scores)
        print(
            "=> result\n"
            f"* total: {total:,}\n"
            f"* correct: {sum(int(counts.trace()) for counts in self.confusion):,}\n"
            f"* accuracy: {results['accuracy']:.2f}%\n"
            f"* error: {results['error_rate']:.2f}%\n"
            f"* macro_f1: {results['macro_f1']:.2f}%"
        )
        self._print_labels(results["accuracy"])
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._print_classes()
        if self.cfg.TEST.COMPUTE_CMAT:
            self._write_confusion()
        return results

    def _print_labels(self, accuracy: float) -> None:
        """What the numbers of the block are, where they are not the same. Not in the block's form: parsers read on."""
        total = sum(int(counts.sum()) for counts in self.confusion)
        correct = sum(int(counts.trace()) for counts in self.confusion)
        tested = [result for result in self.task_results if result["n"]]
        if len(tested) > 1 or tested[0]["metric"] != "accuracy":
            what = f"the mean over {len(tested)} tasks" if len(tested) > 1 else f"{tested[0]['metric']} of the task"
            print(
                f"{accuracy:.2f}% is {what}, the headline; of all images together {100 * correct / total:.2f}% are "
                f"right ({correct:,} of {total:,})"
            )

    def task_values(self) -> list[float | None]:
        """The metric of each task in percent over the samples so far, None without samples; prints nothing."""
        self._add_other_processes()
        return [self._value(t) for t in range(len(self.tasks))]

    def weak_tasks(self, zero_shot: Sequence[float | None] | None = None) -> list[str]:
        """After `evaluate`, a warning for the tasks that are below what always answering one class gives, and one for
        those that are below `zero_shot`, the values of hand-made prompts."""
        constant = [100 * best_constant(counts, t.metric) for counts, t in zip(self.confusion, self.tasks)]
        baselines = {
            "below what always answering one class gives": constant,
            "below zero-shot, the hand-made prompts": zero_shot or [None] * len(self.tasks),
        }
        warnings = []
        for what, values in baselines.items():
            weak = [
                f"{result['name']} ({result['value']:.2f}% against {value:.2f}%)"
                for result, value in zip(self.task_results, values)
                if result["n"] and value is not None and result["value"] < value - 1e-9
            ]
            if weak:
                warnings.append(f"{len(weak)} of {len(self.tasks)} tasks {what}: {', '.join(weak)}")
        return warnings

    def _add_other_processes(self) -> None:
        """Under torchrun each process has a part of the images, in the order of the ranks: join the parts."""
        if dist.is_available() and dist.is_initialized():
            parts: list = [None] * dist.get_world_size()
            dist.all_gather_object(parts, (self.confusion, self._batches))
            self.confusion = [torch.stack(counts).sum(0) for counts in zip(*(counts for counts, _ in parts))]
            self._batches = [batch for _, batches in parts for batch in batches]
        if self._batches:
            self.predictions = tuple(torch.cat(column) for column in zip(*self._batches))

    def _task_result(self, t: int) -> dict:
        """The result of one task, printed and with the classes that have no samples logged."""
        task, counts = self.tasks[t], self.confusion[t]
        n, value = int(counts.sum()), self._value(t)
        if n:
            absent = [task.classnames[c] for c in (counts.sum(1) == 0).nonzero().flatten().tolist()]
            if absent:
                logger.warning("task %s: %d classes have no test sample: %s", task.name, len(absent), ", ".join(absent))
        # Not in the form "* accuracy: ...%": parsers of logs would take the last such line for the result.
        outcome = f"{value:.2f}% {task.metric}, n = {n:,}" if n else "no samples, left out of the mean"
        print(f"task {t + 1}/{len(self.tasks)} ({task.name}): {outcome}")
        return {"name": task.name, "metric": task.metric, "value": value, "n": n}

    def _value(self, t: int) -> float | None:
        counts, n = self.confusion[t], int(self.confusion[t].sum())
        if not n:
            return None
        return 100 * (mean_recall(counts) if self.tasks[t].metric == "mean_per_class" else float(counts.trace()) / n)

    def _print_classes(self) -> float:
        print("=> per-class result")
        recalls = []
        for task, offset, counts in zip(self.tasks, self._offsets.tolist(), self.confusion):
            for c, (correct, n) in enumerate(zip(counts.diag().tolist(), counts.sum(1).tolist())):
                if n:
                    recalls.append(100 * correct / n)
                    print(
                        f"* class: {offset + c} ({task.classnames[c]})\t"
                        f"total: {n:,}\tcorrect: {correct:,}\tacc: {recalls[-1]:.1f}%"
                    )
        mean = sum(recalls) / len(recalls)
        print(f"* average: {mean:.1f}%")
        return mean

    def _write_confusion(self) -> None:
        """Write each task's counts to OUTPUT_DIR/cmat_<task>.csv: rows true classes, columns predicted classes."""
        import pandas as pd

        for task, counts in zip(self.tasks, self.confusion):
            path = os.path.join(self.cfg.OUTPUT_DIR, f"cmat_{re.sub(r'[^0-9A-Za-z]+', '_', task.name)}.csv")
            frame = pd.DataFrame(counts.numpy(), index=task.classnames, columns=task.classnames)
            frame.to_csv(path, index_label="true \\ predicted")
            print(f"Confusion matrix is saved to {path}")


def mean_recall(counts: Tensor) -> float:
    """Mean over the classes that occur of the share predicted right; `counts` (C, C), rows the true classes."""
    n = counts.sum(1)
    return float((counts.diag()[n > 0] / n[n > 0].double()).mean())


def best_constant(counts: Tensor, metric: str) -> float:
    """The best value of `metric` that one class for all samples gives, 0 to 1; `counts` (C, C), rows the true classes.

    For accuracy it is the share of the most frequent class, for mean_per_class 1 / (classes that occur).
    """
    n = counts.sum(1)
    if not n.sum():
        return 0.0
    return 1 / int((n > 0).sum()) if metric == "mean_per_class" else int(n.max()) / int(n.sum())


def macro_f1(counts: Tensor) -> float:
    """Percent; mean over the classes that occur of 2 true positives / (samples + predictions); `counts` (C, C)."""
    n, predicted = counts.sum(1), counts.sum(0)
    return float(100 * (2 * counts.diag() / (n + predicted).double())[n > 0].mean())
