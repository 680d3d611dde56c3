"""Checkpoints as others publish them, read into our own format: one foreign format a file."""
