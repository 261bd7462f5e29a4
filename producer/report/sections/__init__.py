"""The sections of the report. One that has nothing to tell is empty, and left out."""
