"""Named, labelled images in versions."""
