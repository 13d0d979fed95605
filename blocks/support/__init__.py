"""What blocks, the graph and the tasks all stand on: files, streams, caches, devices."""
