"""A built graph -> compiled, recomputed, sharded, incremental, inspected."""
