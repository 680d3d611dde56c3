"""Other servers around the same work, as their users would write them.

`python -m bench.peers.NAME SOURCE SIZE PORT` serves one.
"""
