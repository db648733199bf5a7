"""Builds the compiled kernel of the fills. All else about the package stands in pyproject.toml."""

import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# Every backend must round alike: no multiplication and addition may become one operation.
FLAGS = {
    "unix": ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
    "msvc": ["/std:c11", "/O2", "/fp:precise"],
}


class BuildKernel(build_ext):
    """With the flags that each compiler spells in its own way."""

    def build_extension(self, ext: Extension) -> None:
        """Build it as setuptools does."""
        ext.extra_compile_args = FLAGS.get(self.compiler.compiler_type, [])
        super().build_extension(ext)


# Python without its lock has no limited API yet: there the kernel is built for that very version.
IS_LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

KERNEL = Extension(
    "exnihilo.fills._kernel",
    sources=["src/exnihilo/fills/_kernel.c"],
    depends=[f"src/exnihilo/fills/_{part}.h" for part in ("tiles", "polynomials", "reflections")],
    py_limited_api=IS_LIMITED,
    define_macros=[("Py_LIMITED_API", "0x030B0000")] if IS_LIMITED else [],
    optional=True,  # without a compiler the package installs all the same, and fills by its reference
)

setup(
    ext_modules=[KERNEL],
    cmdclass={"build_ext": BuildKernel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if IS_LIMITED else {},
)
