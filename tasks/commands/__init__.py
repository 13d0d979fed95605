"""The commands of `python -m tasks`, a file each."""
