"""One module for each way to cut words into symbols."""
