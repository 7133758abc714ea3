"""Daemons: a machine takes work from the studies of a database by itself."""
