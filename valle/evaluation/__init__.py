"""Scores: word error rate, speaker similarity, and the report."""
