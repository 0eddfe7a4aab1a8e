"""The generative families in pure torch: objectives, forward and reverse processes, samplers, and the noise they draw.

Networks are passed in as callables; nothing here reads, writes, or knows where its tensors came from.

    noise          random numbers that belong to a sample (Philox by seed, purpose, sample, step)
    schedules      beta_t, alpha_t, alpha_bar_t; how much of x_0 is left in x_T
    forward        the forward process and its posterior
    predictions    eps, x_0 and v
    weightings     weights of the training loss
    diffusion      the diffusion family: loss and full bound;  bound: the bound's terms
    sampler_rows   the mathematics of each sampler;  sampler_tables: configuration and table;  samplers: the loop
    gaussians      divergences, densities and pixel probabilities;  terms: what every loss returns
"""

from pipeline.families.diffusion import Diffusion, DiffusionConfig, Network
from pipeline.families.forward import ForwardProcess
from pipeline.families.noise import Draws, integers, normal, philox4x32, stream_key, uniform
from pipeline.families.predictions import Prediction
from pipeline.families.sampler_rows import SamplerRow
from pipeline.families.sampler_tables import SamplerConfig, SamplerTable, sampler_table, table_along, visited_timesteps
from pipeline.families.samplers import OnStep, StepNoise, dynamic_threshold, sample
from pipeline.families.schedules import Schedule, kl_to_prior_bits, make_schedule, smallest_sufficient_steps
from pipeline.families.terms import LossTerms

__all__ = [
    "Diffusion",
    "DiffusionConfig",
    "Draws",
    "ForwardProcess",
    "LossTerms",
    "Network",
    "OnStep",
    "Prediction",
    "SamplerConfig",
    "SamplerRow",
    "SamplerTable",
    "Schedule",
    "StepNoise",
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
