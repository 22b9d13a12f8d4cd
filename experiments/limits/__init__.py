"""Pieces of `experiments.operator_limits`."""
