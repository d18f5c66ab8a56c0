"""Behind scripts/data.py: fetching data sets, checking them and showing them. Imports `datasets` and `storage`."""
