"""Pixels: which files are images, how they are decoded, and how they come to a model's input."""
