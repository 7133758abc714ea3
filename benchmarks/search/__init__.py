"""A bench for search methods: how many epochs a method spends to find a good configuration.

Methods search tables of learning curves in a simulator, so no network is trained. These modules
need NumPy, pandas and Optuna alone: the rivals' environment has neither TensorFlow nor MLflow.
"""
