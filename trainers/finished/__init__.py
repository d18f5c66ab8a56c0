"""Finished runs, loaded again: to predict on users' images, to export, to apply to new tasks, and to look inside."""
