"""Finished runs, loaded again: to predict on users' images, to export, to apply to new tasks, and to look inside.

Imports `train` for the config, the trainers, and `inference`, which needs neither.
"""

import train  # noqa: F401  first: it provides Dassl
