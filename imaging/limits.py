"""How large an image may be, unless told otherwise."""

MAX_PIXELS = 150_000_000
"""A telephone's 108 megapixels, and some more."""
MAX_BYTES = 50_000_000
