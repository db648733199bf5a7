"""`import exnihilo` offers what it states, and is light."""

import subprocess
import sys

import exnihilo


def test_every_stated_name_is_there():
    for name in exnihilo.__all__:
        assert getattr(exnihilo, name) is not None
    assert sorted(dir(exnihilo)) == sorted(exnihilo.__all__)


def test_importing_the_package_brings_in_no_torch():
    code = "import sys, exnihilo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(exnihilo, "initialise")
