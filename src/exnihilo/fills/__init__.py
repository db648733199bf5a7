"""Keyed draws: every value is a pure function of (seed, name, index)."""

from exnihilo.fills.box import Box
from exnihilo.fills.draws import bits, normal, normals, permutation, permutations, uniform, uniforms
from exnihilo.fills.fill import fill_, values
from exnihilo.fills.key import FILLS_VERSION, Key
from exnihilo.fills.laws import Law
from exnihilo.fills.reflections import haar

__all__ = ["FILLS_VERSION", "Box", "Key", "Law", "bits", "fill_", "haar", "normal", "normals", "permutation"]
__all__ += ["permutations", "uniform", "uniforms", "values"]
