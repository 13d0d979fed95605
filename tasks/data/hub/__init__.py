"""Data sets of the Hugging Face Hub, by name or from files of the user's own."""
