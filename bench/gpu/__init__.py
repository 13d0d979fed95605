"""Everything that is measured on a GPU: one command runs it, and on a CPU at small sizes."""
