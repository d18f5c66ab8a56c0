"""The multi-task evaluator, registered in Dassl's EVALUATOR_REGISTRY."""

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from dassl.evaluation import EVALUATOR_REGISTRY, EvaluatorBase
from torch import Tensor
from yacs.config import CfgNode

from softcpt.evaluation.metrics import best_constant, macro_f1, percent
from softcpt.evaluation.records import LEFT_OUT, in_the_mean
from softcpt.files.texts import counted, plain, spreadsheet
from softcpt.tasks import METRICS, Task

logger = logging.getLogger(__name__)


@EVALUATOR_REGISTRY.register()
class MultiTaskClassification(EvaluatorBase):
    """Accuracy or mean per-class recall of each task, and their unweighted mean.

    A task of one class, where any answer is right, is left out of the mean, unless there are no others.
    A sample is predicted to be one of its own task's classes. The evaluator keeps a confusion matrix per task, int64
    (C_t, C_t) with true classes in the rows, and with TEST.PREDICTIONS 12 bytes per sample.

    Args:
        lab2cname: class name of each global label; used without `tasks`.
        tasks: objects with `name`, `classnames` and `metric` ("accuracy" or "mean_per_class"), in label order; None for
            one task of all classes.

    Attributes:
        task_results: after `evaluate`, a dict per task with its name, metric, value in percent (None without samples)
            and number n of samples; "left_out" says why a task with samples does not count.
        predictions: after `evaluate` with TEST.PREDICTIONS, three tensors (N,) in the order of the images: global
            label, predicted global label, and its softmax probability within the task.
    """

    def __init__(
        self, cfg: CfgNode, lab2cname: Mapping[int, str] | None = None, tasks: Sequence | None = None, **kwargs
    ):
        super().__init__(cfg)
        if not tasks and lab2cname:
            tasks = [Task("all classes", tuple(lab2cname[label] for label in sorted(lab2cname)))]
        self.set_tasks(tasks or ())

    def set_tasks(self, tasks: Sequence) -> None:
        """Evaluate these tasks from now on. Raises ValueError for an unknown metric."""
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

        Raises ValueError if shapes or labels do not fit the tasks, FloatingPointError for logits that are not finite.
        """
        if not self.tasks:
            self.set_tasks([Task("all classes", tuple(str(label) for label in range(mo.shape[1])))])
        n_classes = len(self._task_of_class)
        if mo.shape != (len(gt), n_classes):
            raise ValueError(f"logits of shape {tuple(mo.shape)} for {len(gt)} labels and {n_classes} classes")
        label = gt.cpu().long()
        if len(label) and not 0 <= int(label.min()) <= int(label.max()) < n_classes:
            raise ValueError(f"labels from {int(label.min())} to {int(label.max())} for {n_classes} classes")

        task = self._task_of_class[label]  # (B,)
        other = (task[:, None] != self._task_of_class).to(mo.device)  # (B, C)
        # On ties argmax returns the first index, for any precision and device.
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

        Prints a line per task, then Dassl's `=> result` block. Raises ValueError without samples.
        """
        self._add_other_processes()
        total = sum(int(counts.sum()) for counts in self.confusion)
        if not total:
            raise ValueError("no test samples to evaluate")
        self.task_results = [self._task_result(t) for t in range(len(self.tasks))]
        counting = in_the_mean(self.task_results)
        values = [result["value"] for result in counting]
        f1_scores = [macro_f1(n) for n, result in zip(self.confusion, self.task_results) if result in counting]
        accuracy, f1 = sum(values) / len(values), sum(f1_scores) / len(f1_scores)
        correct = sum(int(counts.trace()) for counts in self.confusion)
        # The first is what trainer.test() returns.
        results = OrderedDict(accuracy=accuracy, error_rate=100 - accuracy, macro_f1=f1)
        print(
            f"=> result\n* total: {total:,}\n* correct: {correct:,}\n* accuracy: {accuracy:.2f}%\n"
            f"* error: {100 - accuracy:.2f}%\n* macro_f1: {f1:.2f}%"
        )
        # The next line must not look like the block's, or parsers of logs would read it, too.
        metric, tested = counting[0]["metric"], [result for result in self.task_results if result["n"]]
        if len(values) > 1 or metric != "accuracy" or len(values) < len(tested):
            what = f"the mean over {len(values)} tasks" if len(values) > 1 else f"{metric} of the task"
            print(
                f"{accuracy:.2f}% is {what}, the headline; of all images together {100 * correct / total:.2f}% are "
                f"right ({correct:,} of {total:,})"
            )
        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._print_classes()
        if self.cfg.TEST.COMPUTE_CMAT:
            self._write_confusion()
        return results

    def task_values(self) -> list[float | None]:
        """The metric of each task in percent over the samples so far, None without samples. Prints nothing."""
        self._add_other_processes()
        return [self._value(t) for t in range(len(self.tasks))]

    def weak_tasks(self, zero_shot: Sequence[float | None] | None = None) -> list[str]:
        """After `evaluate`: a warning on the tasks that are worse than a constant answer, and one on those that are
        worse than `zero_shot`, the values of hand-made prompts."""
        constant = [100 * best_constant(counts, t.metric) for counts, t in zip(self.confusion, self.tasks)]
        baselines = {
            "below what always answering one class gives": constant,
            "below zero-shot, the hand-made prompts": zero_shot or [None] * len(self.tasks),
        }
        warnings = []
        for what, values in baselines.items():
            weak = [
                f"{plain(result['name'])} ({result['value']:.2f}% against {value:.2f}%)"
                for result, value in zip(self.task_results, values)
                if result["n"] and value is not None and result["value"] < value - 1e-9
            ]
            if weak:
                warnings.append(f"{len(weak)} of {counted(len(self.tasks), 'task')} {what}: {', '.join(weak)}")
        return warnings

    def _add_other_processes(self) -> None:
        """Join what the processes counted, in the order of their ranks; under torchrun each sees some of the images."""
        if dist.is_available() and dist.is_initialized():
            parts: list = [None] * dist.get_world_size()
            dist.all_gather_object(parts, (self.confusion, self._batches))
            self.confusion = [torch.stack(counts).sum(0) for counts in zip(*(counts for counts, _ in parts))]
            self._batches = [batch for _, batches in parts for batch in batches]
        if self._batches:
            self.predictions = tuple(torch.cat(column) for column in zip(*self._batches))

    def _task_result(self, t: int) -> dict:
        """The result of one task. Prints it, and logs the classes without samples."""
        task, counts = self.tasks[t], self.confusion[t]
        n, value = int(counts.sum()), self._value(t)
        absent = [name for name, count in zip(task.classnames, counts.sum(1).tolist()) if not count]
        if n and absent:
            classes = counted(len(absent), "class")
            logger.warning("task %s: no test sample of %s: %s", plain(task.name), classes, plain(", ".join(absent)))
        # Not in the form "* accuracy: ...%", since parsers of logs take the last such line for the result.
        outcome = f"{value:.2f}% {task.metric}, n = {n:,}" if n else "no samples, left out of the mean"
        left_out = {LEFT_OUT: "one class"} if n and len(task.classnames) == 1 else {}
        more = ", one class, left out of the mean" if left_out and len(self.tasks) > 1 else ""
        print(f"task {t + 1}/{len(self.tasks)} ({plain(task.name)}): {outcome}{more}")
        return {"name": task.name, "metric": task.metric, "value": value, "n": n, **left_out}

    def _value(self, t: int) -> float | None:
        counts = self.confusion[t]
        return percent(counts, self.tasks[t].metric) if counts.sum() else None

    def _print_classes(self) -> float:
        print("=> per-class result")
        recalls = []
        for task, offset, counts in zip(self.tasks, self._offsets.tolist(), self.confusion):
            for c, (correct, n) in enumerate(zip(counts.diag().tolist(), counts.sum(1).tolist())):
                if n:
                    recalls.append(100 * correct / n)
                    print(
                        f"* class: {offset + c} ({plain(task.classnames[c])})\t"
                        f"total: {n:,}\tcorrect: {correct:,}\tacc: {recalls[-1]:.1f}%"
                    )
        mean = sum(recalls) / len(recalls)
        print(f"* average: {mean:.1f}%")
        return mean

    def _write_confusion(self) -> None:
        """Write each task's matrix to OUTPUT_DIR/cmat_<task>.csv: rows true classes, columns predicted classes."""
        import pandas as pd

        for task, counts in zip(self.tasks, self.confusion):
            path = os.path.join(self.cfg.OUTPUT_DIR, f"cmat_{re.sub(r'[^0-9A-Za-z]+', '_', task.name)}.csv")
            names = list(map(spreadsheet, task.classnames))
            frame = pd.DataFrame(counts.numpy(), index=names, columns=names)
            frame.to_csv(path, index_label="true \\ predicted")
            print(f"Confusion matrix is saved to {path}")
