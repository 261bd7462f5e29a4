"""Trainings that are queued or scheduled, and who follows them."""
