"""One batch: run once, exactly, whatever happened to it before."""
