"""Evaluation: test sets, metrics with confidence intervals, reports and comparisons of systems."""
