"""Decide which tokens learn from the teacher, what its logits become, and which inputs the student reads. Pure."""
