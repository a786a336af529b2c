"""Reviews: pinned cases with notes and ticks, kept for each user, and what is made of them."""
