"""fairseq models of the plugin: the BERT teacher. The student is any stock model."""
