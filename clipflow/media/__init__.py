"""Video and sound: reading sources by range, cutting exact to the frame, stitching without drift."""
