"""fairseq adapters for data: datasets, tokenizer and segmentation."""
