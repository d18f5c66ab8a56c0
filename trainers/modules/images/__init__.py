"""How images are shown to CLIP, and their features from a cache. Imports the files beside the rooms only."""
