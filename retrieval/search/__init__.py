"""A query becomes ranked cases: understood once, ranked by each channel, fused and assembled."""
