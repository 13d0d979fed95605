"""Several devices or processes."""
