"""What a run measures and leaves behind: the multi-task evaluator and the files of the run: results.json, its record,
and predictions.csv.gz.

Imports Dassl, and of the project `storage` alone. Records need neither PyTorch nor Dassl, so importing this package
imports neither; the evaluator registers itself when the configuration is extended.
"""

from yacs.config import CfgNode


def extend_cfg(cfg: CfgNode) -> None:
    """Make the multi-task evaluator the default, and register it; TEST.PREDICTIONS is its key."""
    from . import evaluator  # noqa: F401

    cfg.TEST.EVALUATOR = "MultiTaskClassification"
    cfg.TEST.PREDICTIONS = True  # write the prediction of every tested image to predictions.csv.gz
