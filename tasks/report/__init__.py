"""Reports: pages, charts, attention maps."""
