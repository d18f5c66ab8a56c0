"""Evaluation: the multi-task evaluator, the record of a run, and tables and plots made from records.

Tables, plots and records read files and need neither PyTorch nor Dassl, so importing this package imports neither; the
evaluator registers itself when the configuration is extended.
"""

from yacs.config import CfgNode


def extend_cfg(cfg: CfgNode) -> None:
    """Make the multi-task evaluator the default, and register it."""
    from . import evaluator  # noqa: F401

    cfg.TEST.EVALUATOR = "MultiTaskClassification"
