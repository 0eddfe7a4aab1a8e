"""The only room that knows Ray: cluster session, loader and sampler actors, the training run, the generation run, the hub."""
