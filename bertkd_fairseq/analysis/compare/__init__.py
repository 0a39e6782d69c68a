"""Scores of systems against a reference, tests of their differences, and where they differ."""
