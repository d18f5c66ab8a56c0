"""What a run measures and leaves behind: the multi-task evaluator and the record of the run, results.json.

Imports Dassl, and of the project `files` alone. Records need neither PyTorch nor Dassl, so importing this package
imports neither; the evaluator registers itself when the configuration is extended.
"""

from yacs.config import CfgNode


def extend_cfg(cfg: CfgNode) -> None:
    """Make the multi-task evaluator the default, and register it."""
    from . import evaluator  # noqa: F401

    cfg.TEST.EVALUATOR = "MultiTaskClassification"
