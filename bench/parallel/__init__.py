"""Several processes: their memory."""
