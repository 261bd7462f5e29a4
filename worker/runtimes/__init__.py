"""Ways to run a model version."""
