"""Choosing among the translations of an n-best list by what a teacher thinks of them."""
