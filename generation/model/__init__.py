"""The diffusion model: weights found and checked, placed on a device, and run as a pipeline."""
