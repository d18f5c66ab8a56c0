"""LinearProbe: logistic regression on CLIP's image features."""

import functools
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from dassl.engine import TRAINER_REGISTRY

from softcpt.tasks import Task

from .engine.checks import ABOVE_0, AT_LEAST_1, Range, between
from .engine.choosing import Choice
from .fitted import LinearClassifierTrainer
from .parts.validation import metric_of, split_by_task

logger = logging.getLogger(__name__)

GRID = (6.0, 4.0, 2.0, 0.0, -2.0, -4.0, -6.0)  # log10 C


@TRAINER_REGISTRY.register()
class LinearProbe(LinearClassifierTrainer):
    """Linear probe (LP-CLIP): Radford et al. Learning Transferable Visual Models From Natural Language Supervision.
    ICML 2021, arXiv 2103.00020; the few-shot protocol is CoOp's (arXiv 2109.01134).

    L2-regularised logistic regression on the image features of the shots, not normalised and not augmented, for each
    task by itself. C, the inverse strength of the regularisation, is searched on the validation shots by the task's
    metric: seven powers of ten, then eight halvings of the interval around the best one.
    """

    reads_names = False
    normalises = False

    defaults = {
        "C": 0.0,  # inverse strength of the regularisation; 0: searched on the validation shots
        "STEPS": 8,  # halvings of the search
        "MAX_ITER": 1000,  # of L-BFGS
    }
    legal = {
        "C": Range(lambda x: not x or ABOVE_0.holds(x), f"at least 0: 0 for a search, or {ABOVE_0.text}"),
        "STEPS": between(0, 1000),
        "MAX_ITER": AT_LEAST_1,
    }

    @property
    def searched(self) -> Choice | None:
        instead = "set TRAINER.LINEARPROBE.C (say 1.0), or use ProtoNet"
        return None if self.options.C else Choice("LinearProbe searches C", instead)

    def fit(self) -> None:
        train = self.task_features(self.dm.dataset.train_x)
        val = [] if self.options.C else self.task_features(self.dm.dataset.val)
        for t, task in enumerate(self.tasks):
            x, y = train[t]
            if len(task.classnames) == 1:
                continue  # a single class: its row stays zero
            log_c = np.log10(self.options.C) if self.options.C else self.search(task, x, y, *val[t])
            logger.info("%s: C = %.3g", task.name, 10**log_c)
            row = torch.from_numpy(self.regress(x, y, log_c)).to(self.learned.weight)
            self.learned.weight[self.class_task == t] = row

    def task_features(self, items: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Features (N_t, E) and labels (N_t,) within the task, of each task."""
        parts = split_by_task(*self.features_of(items), self.class_task)
        return [(features.cpu().numpy(), label.cpu().numpy()) for features, label in parts]

    def regress(self, x: np.ndarray, y: np.ndarray, log_c: float) -> np.ndarray:
        """Weights and bias (C_t, E + 1) of the regression on x (N, E), y (N,)."""
        from sklearn.exceptions import ConvergenceWarning  # a second to import, which other methods need not wait for
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=10**log_c, max_iter=self.options.MAX_ITER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # for huge C on separable shots, as in the protocol
            model.fit(x, y)
        weight = np.column_stack([model.coef_, model.intercept_])
        # Of two classes scikit-learn keeps the second's log-odds.
        return np.vstack([np.zeros_like(weight), weight]) if len(weight) == 1 else weight

    def search(self, task: Task, x: np.ndarray, y: np.ndarray, x_val: np.ndarray, y_val: np.ndarray) -> float:
        """The best log10 C on the validation shots."""

        def score(log_c: float) -> float:
            weight = self.regress(x, y, log_c)
            prediction = (x_val @ weight[:, :-1].T + weight[:, -1]).argmax(1)
            return metric_of(task, prediction, y_val)

        return search_c(score, self.options.STEPS)


def search_c(score: Callable[[float], float], steps: int) -> float:
    """log10 C by CoOp's protocol: the best of GRID, then `steps` halvings of the interval from one decade below to one
    decade above it, each towards the end with the better score, on a tie the lower one."""
    score = functools.cache(score)
    peak = max(GRID, key=score)
    low, high, best = peak - 1, peak + 1, peak
    for _ in range(steps):
        middle = (low + high) / 2
        if score(low) < score(high):
            best, low = high, middle
        else:
            best, high = low, middle
    return best
