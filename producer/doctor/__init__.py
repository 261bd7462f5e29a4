"""What is wrong with a system, and how to fix it."""
