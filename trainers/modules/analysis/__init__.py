"""What a trained method has learned, and what it answers. Imports `prompts` and, alone of these rooms, methods."""
