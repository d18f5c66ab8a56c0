"""What scripts/data.py calls: download, check and show data sets."""
