"""What the prompts of a run hold, and which tasks gain from which: figures, pictures and text. Imports no other room
of `experiments`."""
