"""Whether a version may become champion."""
