"""Speed and memory of reading large data."""
