"""For those who watch: what Flower is started with, and metrics for Prometheus.

Reads the queue and shared storage, and changes neither.
"""
