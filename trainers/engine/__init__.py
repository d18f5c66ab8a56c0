"""The training and testing of every method: `Engine`, and the parts of its loop. Imports `images` and `prompts`."""
