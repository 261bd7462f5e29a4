"""Model versions: immutable, one of them the champion."""
