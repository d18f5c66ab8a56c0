"""The one reader of images, augmented views, and cached features of images."""
