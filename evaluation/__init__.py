"""Numbers about answers: how many are right, whether scores tell the truth, what may be chance."""
