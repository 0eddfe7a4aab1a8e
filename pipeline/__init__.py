"""Swissroll: train diffusion models from streamed shards and generate samples in bulk, on Ray."""
