"""Tables of image files that users write: how they are read, and which files they mean."""
