"""The whole system on one machine without Docker: `python -m local up` and `python -m local demo`.

Runs the programs as processes, exactly as an operator would by hand; it imports none of them.
"""
