"""Finished runs, loaded again: to predict on users' images, to export, to apply to new tasks, and to look into.

Imports `train` for the config, the trainers and `inference`, which holds what needs neither.
"""

import train  # noqa: F401  first: it provides Dassl
