"""A slim implementation of the part of Dassl's public API that the CoOp family of methods uses.

Dassl (Zhou et al., "Domain Adaptive Ensemble Learning", arXiv 2003.07325) is the toolbox that CoOp, CoCoOp, KgCoOp,
ProGrad, PLOT, MaPLe and SoftCPT plug into. This package keeps its names, config tree and behaviour on the labelled
path for current PyTorch; the domain adaptation, domain generalisation and semi-supervised trainers are left out.
`compat.ensure_dassl()` decides whether this package or an installed Dassl is imported as `dassl`.
"""

__version__ = "0.6.3"  # the release whose public API is implemented
