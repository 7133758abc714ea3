"""The forms in which a network is saved, one file each; `models/runtimes.py` has their table."""
