"""Images: in folders, arrays and packed files; decoding and augmentation."""
