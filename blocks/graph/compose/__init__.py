"""Files and command line -> one plain dictionary, and the origin of each value."""
