"""What is done with many runs: sweeps of them, and the tables, tests and pictures made from their records.

Reads and writes files, and imports of the project `evaluation` alone: neither PyTorch nor Dassl is needed for a report.
"""
