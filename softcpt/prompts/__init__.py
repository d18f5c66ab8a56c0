"""Learned and zero-shot prompts, and the encoder of their text features."""
