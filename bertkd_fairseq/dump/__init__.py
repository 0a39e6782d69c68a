"""Asking the teacher once for every target token (stage 2)."""
