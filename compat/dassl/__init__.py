"""The part of Dassl's API that the CoOp family uses, for current PyTorch.

Dassl (Zhou et al., "Domain Adaptive Ensemble Learning", arXiv 2003.07325) is the toolbox under CoOp, CoCoOp, KgCoOp,
ProGrad, PLOT, MaPLe, PromptSRC and SoftCPT. Names, config keys, learning rates, random draws and log lines are Dassl's.
Domain adaptation and generalisation, semi-supervised learning and the network zoo are left out.
`compat.ensure_dassl()` decides whether this package or an installed Dassl is imported as `dassl`.
"""

__version__ = "0.6.3"  # the release whose names these are
