"""Preprocessing, augmented views and cached features of images. Imports only the files beside the rooms."""
