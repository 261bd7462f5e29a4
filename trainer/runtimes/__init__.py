"""The second runtime of a version: made, measured and chosen when the version is published."""
