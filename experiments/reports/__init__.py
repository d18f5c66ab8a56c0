"""Reports of finished runs: tables, paired tests, pictures, and the files that they are written to.

Imports `sweeps` for the names of methods, and `interpretation` for what it left beside the runs.
"""

# ruff: noqa: F401

from .write import HALVES_FILES, REPORT_FILES, write_halves_report, write_report
