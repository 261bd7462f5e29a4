"""Model files from elsewhere, and for elsewhere."""
