"""Files read through Hydra, and the line and column of every key."""
