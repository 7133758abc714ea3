"""The Python API: what `import tuner` offers, made of the same calls as the commands."""
