"""Learning without labels: hidden patches, two views of an image, images and their captions."""
