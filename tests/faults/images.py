"""Images that do harm, by agreement between the tests and the faulty worker."""

KILLER = 251
"""The process dies over an image that has this value alone."""
HANGER = 252
"""It hangs, beyond the reach of the soft time limit, over an image of this value."""
