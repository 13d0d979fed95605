"""What stands before the first step: imports, building, reading."""
