"""Data sets that others have published, read where they lie on this machine."""
