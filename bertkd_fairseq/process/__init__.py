"""What a command does to its own process: threads, signals, and how a mistake ends it."""
