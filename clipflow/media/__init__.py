"""Video and sound: read by range, cut exact to the frame, stitched without drift."""
