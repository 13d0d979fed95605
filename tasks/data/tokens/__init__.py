"""Long sequences of tokens: cut into windows by index, in memory or in files."""
