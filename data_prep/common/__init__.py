"""What the preparation scripts share; nothing in gfvideo imports it."""
