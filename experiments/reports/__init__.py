"""Reports of finished runs: tables, paired tests, pictures, and the files that they are written to.

Imports `sweeps` for the names of methods, and `interpretation` for what it left beside the runs.
"""

from .write import HALVES_FILES, REPORT_FILES, write_halves_report, write_report

__all__ = ["HALVES_FILES", "REPORT_FILES", "write_halves_report", "write_report"]
