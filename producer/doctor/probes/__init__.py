"""Looks at one thing each, and raises nothing that a check could name."""
