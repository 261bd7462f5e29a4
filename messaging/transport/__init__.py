"""The Redis transport of kombu, hardened against whatever comes over the wire."""
