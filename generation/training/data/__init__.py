"""What a training reads: image-report pairs, the split by patient, crops, cached latents and text embeddings."""
