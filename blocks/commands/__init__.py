"""Questions about an architecture: one file a command, with `arguments(parser)` and `run(chosen) -> exit status`."""
