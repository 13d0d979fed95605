"""The page of `studio`, and the answers to a file that is saved."""
