"""What scripts/data.py is made of: sources, downloads, checks, pictures. No data set needs any of it."""
