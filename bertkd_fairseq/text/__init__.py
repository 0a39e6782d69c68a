"""From raw text to a data-bin."""
