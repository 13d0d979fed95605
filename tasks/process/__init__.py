"""The processes of a run: signals, watchdog, cores and memory."""
