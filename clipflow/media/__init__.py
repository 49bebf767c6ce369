"""Video and audio: reading by ranges, cutting to the frame, and stitching without drift."""
