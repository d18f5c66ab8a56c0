"""Evaluation of a run, and the files that it writes: results.json, predictions.csv.gz and classes.json.

Imports only `storage`. The evaluator needs PyTorch and Dassl and is registered by `extend_cfg`; records and predictions
need neither.
"""

from yacs.config import CfgNode

METRICS = ("accuracy", "mean_per_class")


def extend_cfg(cfg: CfgNode) -> None:
    """Register the multi-task evaluator, make it the default, and add the key TEST.PREDICTIONS."""
    from . import evaluator  # noqa: F401

    cfg.TEST.EVALUATOR = "MultiTaskClassification"
    cfg.TEST.PREDICTIONS = True  # write the prediction of every tested image to predictions.csv.gz
