"""A user's function that trains by itself: how it is called, and the trial that it is given.

Nothing here imports TensorFlow: a function that needs none starts at once.
"""
