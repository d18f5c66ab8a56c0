"""Prompts, learned and hand-made, and the encoder that turns them into text features. Imports the files beside the
rooms only."""
