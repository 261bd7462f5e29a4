"""What came of a job: merged, counted, exported, checked, corrected, removed."""
