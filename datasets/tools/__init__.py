"""What scripts/data.py calls: download, check and show data sets. Imports `datasets` and `storage`."""
