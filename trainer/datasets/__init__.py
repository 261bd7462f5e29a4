"""Where data sets come from: known names, folders, archives, corrected jobs."""
