"""``bertkd demo``: every stage through the very same commands, on a generated language pair."""
