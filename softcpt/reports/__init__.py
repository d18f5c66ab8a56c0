"""Reports of finished runs: tables, paired tests, pictures, and writing them to files.

Imports `sweeps` for the names of methods. `interpretation` and `leave_one_out` write what scripts/interpret.py finds.
"""

# ruff: noqa: F401

from .write import HALVES_FILES, REPORT_FILES, recommendation, write_halves_report, write_report
