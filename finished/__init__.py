"""Finished runs, loaded again: to predict on users' images, to export them, and to apply them to new tasks.

Imports `train` for the config, the trainers, and `inference`, which needs neither.
"""

import train  # noqa: F401  first: it provides Dassl
