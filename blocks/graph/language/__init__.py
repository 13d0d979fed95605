"""A value in YAML -> its meaning: expressions, scopes, patterns, signatures, types."""
