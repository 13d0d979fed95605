"""Models beside those of other libraries, in turn or each in a process of its own."""
