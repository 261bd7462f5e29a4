"""What the results of a job tell."""
