"""Models that were trained elsewhere, as versions."""
