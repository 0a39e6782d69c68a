"""What a student learns from: which tokens have a teacher, what its logits become, which inputs it reads. Pure."""
