"""Checkpoints from elsewhere become ours, and ours become files that others read."""
