"""Subword schemes: cut words into symbols, and find the pieces of a teacher's tokenizer for the symbols."""
