"""A trained student at work: raw text in, raw text out, with fairseq or CTranslate2; its export for the latter."""
