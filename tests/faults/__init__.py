"""Faults done to the real system, with a ledger that it cannot touch."""
