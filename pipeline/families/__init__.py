"""The generative families in pure torch: objectives, forward and reverse processes, samplers, and the noise they draw.

Networks are passed in as callables; nothing here reads, writes, or knows where its tensors came from.

    noise             random numbers that belong to a sample (Philox by seed, purpose, sample, step)
    terms             what every loss returns;  family: what every family offers
    gaussians         divergences, densities, reparameterisation;  likelihood: p(x | lowest latent)

    vae               one latent layer
    hierarchical_vae  L latent layers;  latent_chain: the encoders and decoders of both as one module
    warm_up           how latent layers are made to carry information
    diffusion         the diffusion model: loss and full bound

    schedules         beta_t, alpha_t, alpha_bar_t; how much of x_0 is left in x_T
    forward           the forward process and its posterior
    predictions       eps, x_0 and v;  weightings: of the training loss;  bound: the terms of the bound
    samplers          the loop;  sampler_tables: configuration, timesteps, table;  sampler_rows: the mathematics of each
"""

from pipeline.families.diffusion import Diffusion
from pipeline.families.diffusion_config import DiffusionConfig
from pipeline.families.family import Family, Network, SampleRequest
from pipeline.families.forward import ForwardProcess
from pipeline.families.hierarchical_vae import HierarchicalVAE, HierarchicalVAEConfig
from pipeline.families.latent_chain import ChainNetwork, ChainPass, Gaussian, LatentChain
from pipeline.families.noise import Draws, integers, normal, philox4x32, stream_key, uniform
from pipeline.families.predictions import Prediction
from pipeline.families.sampler_rows import SamplerRow
from pipeline.families.sampler_tables import SamplerConfig, SamplerTable, sampler_table, table_along, visited_timesteps
from pipeline.families.samplers import OnStep, StepNoise, dynamic_threshold, sample
from pipeline.families.schedules import Schedule, kl_to_prior_bits, make_schedule, smallest_sufficient_steps
from pipeline.families.terms import LossTerms
from pipeline.families.vae import VAE, VAEConfig

__all__ = [
    "VAE",
    "ChainNetwork",
    "ChainPass",
    "Diffusion",
    "DiffusionConfig",
    "Draws",
    "Family",
    "ForwardProcess",
    "Gaussian",
    "HierarchicalVAE",
    "HierarchicalVAEConfig",
    "LatentChain",
    "LossTerms",
    "Network",
    "OnStep",
    "Prediction",
    "SampleRequest",
    "SamplerConfig",
    "SamplerRow",
    "SamplerTable",
    "Schedule",
    "StepNoise",
    "VAEConfig",
    "dynamic_threshold",
    "integers",
    "kl_to_prior_bits",
    "make_schedule",
    "normal",
    "philox4x32",
    "sample",
    "sampler_table",
    "smallest_sufficient_steps",
    "stream_key",
    "table_along",
    "uniform",
    "visited_timesteps",
]
