"""Values that are found by trying them on this machine: the batch size, the learning rate."""
