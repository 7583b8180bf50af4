"""Words followed from frame to frame of a video: `flow` moves them with the picture, `tracker` gives them numbers."""
