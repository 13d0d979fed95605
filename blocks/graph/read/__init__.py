"""A YAML file -> nodes with line and column, within limits."""
