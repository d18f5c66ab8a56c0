"""Learned and hand-made prompts, and the encoder of their text features. Imports only the files beside the rooms."""
