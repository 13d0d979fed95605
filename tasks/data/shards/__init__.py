"""Images with classes in shards: .tar files as the library webdataset writes them."""
