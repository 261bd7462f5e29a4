"""What a model version does and costs, found out in a clean process."""
