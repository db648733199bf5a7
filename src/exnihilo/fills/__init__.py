"""Keyed draws: every value is a pure function of (seed, name, index)."""

from exnihilo.fills.draws import bits, normal, normals, permutation, permutations, uniform, uniforms
from exnihilo.fills.key import FILLS_VERSION, Key

__all__ = ["FILLS_VERSION", "Key", "bits", "normal", "normals", "permutation", "permutations", "uniform", "uniforms"]
