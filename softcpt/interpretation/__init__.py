"""What the prompts of a run have learned, and which tasks gain from which, as numbers, pictures and text. Imports no
other room of `experiments`."""
