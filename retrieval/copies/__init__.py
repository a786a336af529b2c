"""Whether a picture repeats a part of another: keypoints, the similarity transform that they agree on, and pixels."""
