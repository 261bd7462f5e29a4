"""Tests: unit (no Redis, no TensorFlow), integration, acceptance, faults."""
