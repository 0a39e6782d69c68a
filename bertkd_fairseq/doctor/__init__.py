"""Checks of the environment: what each stage needs, and how fast this machine is."""
