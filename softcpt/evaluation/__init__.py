"""Metrics, and the files that a run leaves: results.json, predictions.csv.gz, data.json and classes.json."""
