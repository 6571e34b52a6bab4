"""Gradient descent: the baselines."""
